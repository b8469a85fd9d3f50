"""Kernels of both generations, each started once for all tests of the gate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from kernels import Kernel

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PRELUDE = f"""
import sys, threading, asyncio; sys.path.insert(0, {str(SUPPORT)!r})
from sample_reports import *
from nbguard import gate
def ask(verdict=Verdict.REVIEW, **more):
    return gate.ask(report(verdict), decision(verdict, **more), REQUEST)
"""
KERNELS = ["python3", "nbguard-ipykernel6"]


@pytest.fixture(scope="session", params=KERNELS)
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    if request.param not in KernelSpecManager().find_kernel_specs():
        pytest.fail(f"there is no kernel named {request.param}: run `make setup`")
    with Kernel(request.param) as running:
        version = running.run(PRELUDE + "import ipykernel; print(ipykernel.__version__)").finish()
        assert version.startswith("6.29." if "6" in request.param.replace("python3", "") else "7.")
        yield running


@pytest.fixture
def seven(kernel: Kernel) -> bool:
    return kernel.name == "python3"
