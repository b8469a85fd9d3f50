"""One notebook server and one browser for all browser tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from lab import Browser, LabServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("notebooks")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(params=["python3", "nbguard-ipykernel6"])
def kernel(request: pytest.FixtureRequest) -> str:
    """Both message loops that the gate has to deal with."""
    if request.param not in KernelSpecManager().find_kernel_specs():
        pytest.fail(f"there is no kernel named {request.param}: run `make setup`")
    return str(request.param)
