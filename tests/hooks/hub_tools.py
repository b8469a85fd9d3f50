"""What the tests of libraries over a Hub share: a guard with a person, repositories of their own, harmless payloads."""

from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers_tools import Person, blinded, forget_modules

from nbguard import hooks
from nbguard.hooks import walk

_numbers = itertools.count(1)

ACTING = "import os; os.system('echo ran > \"$NBGUARD_DEMO_MARKER\"')\n"
"""Code that writes the marker as soon as it runs."""


class Payload:
    """Unpickling it writes the file that it was made with."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def hostile_zip(marker: Path, state: Mapping[str, Any] | None = None) -> bytes:
    """What `torch.save` makes of tensors with a payload among them."""
    import torch

    out = io.BytesIO()
    torch.save({**(state or {}), "extra": Payload(marker)}, out, pickle_module=pickle)
    return out.getvalue()


def paths(report: Any) -> set[str]:
    """The files of a report."""
    return {f.path for f in report.files}


def push(hub: Any, files: Mapping[str, bytes], name: str = "model") -> str:
    """A repository of its own."""
    repo_id = f"demo/{name}-{next(_numbers)}"
    hub.store.push(repo_id, files)
    return repo_id


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def someone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """The guard is on, and somebody is there to answer."""
    asked = Person()
    monkeypatch.setattr(walk, "ask", asked)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    hooks.install()
    yield asked
    hooks.uninstall()
    forget_modules()


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scanner says of everything that it is explained data."""
    honest = walk.scan
    monkeypatch.setattr(walk, "scan", lambda request, opened: blinded(honest(request, opened)))
