"""What the tests of transformers share: a guard, a person who answers, and repositories of their own."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopback_hub.catalogue import files_of

from nbguard.gate import Answer
from nbguard.report.model import Report

_numbers = itertools.count(1)


class Person:
    """Answers every question with `choice`, and remembers what was asked."""

    def __init__(self) -> None:
        self.choice = "once"
        self.asked: list[Report] = []
        self.meanwhile: Callable[[], Any] = lambda: None
        """What happens between the scan and the load."""

    def __call__(self, report: Report, decision: Any, request: Any) -> Answer:
        self.asked.append(report)
        self.meanwhile()
        return Answer(self.choice, "tester", "", "terminal")  # type: ignore[arg-type]


def fresh(hub: Any, demo: str, **changed: bytes | None) -> str:
    """A repository of its own with the files of a demonstration one; `name__py=b"…"` changes `name.py`."""
    files = files_of(demo)
    for key, data in changed.items():
        name = key.replace("__", ".")
        if data is None:
            files.pop(name, None)
        else:
            files[name] = data
    repo_id = f"{demo.split('/')[0]}/{demo.split('/')[1]}-{next(_numbers)}"
    hub.store.push(repo_id, files)
    return repo_id


def forget_modules() -> None:
    """As in a new kernel: no remote code is imported."""
    for name in [n for n in sys.modules if n.partition(".")[0] in ("transformers_modules", "diffusers_modules")]:
        del sys.modules[name]


def modules_cache() -> Path:
    from transformers.utils.hub import HF_MODULES_CACHE

    return Path(HF_MODULES_CACHE)


def blinded(report: Report) -> Report:
    """What a scanner that was fooled would say: everything is explained data, whatever it saw."""
    from nbguard.report.model import Verdict

    contract = dataclasses.replace(
        report.contract,
        globals=tuple(dataclasses.replace(g, level="data", reason="") for g in report.contract.globals),
    )
    files = tuple(dataclasses.replace(f, verdict=Verdict.SAFE) for f in report.files)
    return dataclasses.replace(report, files=files, findings=(), contract=contract)
