"""What all tests share: a Hub on this machine, and homes of their own.

The address is put into the environment before huggingface_hub is imported, because it is read there once. The server
itself starts with the first test that asks for the `hub` fixture; until then its port refuses every connection.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import Hub

_SCRATCH = Path(tempfile.mkdtemp(prefix="nbguard-tests-"))
_HUB = Hub(_SCRATCH / "hub")

os.environ.update(_HUB.environment(_SCRATCH / "huggingface"))
os.environ["NBGUARD_DATA_DIR"] = str(_SCRATCH / "data")
os.environ["NBGUARD_CONFIG"] = str(_SCRATCH / "config.toml")
(_SCRATCH / "config.toml").touch()
for _name in ("NBGUARD_POLICY", "NBGUARD_MODE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(_name, None)


def pytest_unconfigure() -> None:
    _HUB.stop()
    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """The loopback Hub, empty but for what tests push: `offer(hub.store, "demo/tiny-bert")`, `hub.store.push(…)`."""
    yield _HUB.start()
    _HUB.stop()
