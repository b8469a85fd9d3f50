"""Ways past the walls that were tried, each with a harmless payload, and did work once."""

from __future__ import annotations

import collections
import dataclasses
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import VERBS, Asker
from programs import call, mapping, name, number, program, state, text, tuple_of

from nbguard.errors import LoadBlocked
from nbguard.hooks import walk
from nbguard.hooks.walls.permissions import mapped
from nbguard.report.model import GlobalUse, Report, Verdict

pytestmark = pytest.mark.usefixtures("guarded")


def short_sighted(monkeypatch: pytest.MonkeyPatch, *names: tuple[str, str]) -> None:
    """A scanner that takes these names, used in every way, for objects of classes that it merely does not know."""
    honest = walk.scan

    def scan(request: Any, opened: Any) -> Report:
        report = honest(request, opened)
        uses = tuple(GlobalUse(*mapped(*n), (n,), VERBS, "unknown") for n in names)
        files = tuple(dataclasses.replace(f, verdict=Verdict.REVIEW, inert=False) for f in report.files)
        contract = dataclasses.replace(report.contract, globals=uses, effects=())
        return dataclasses.replace(report, contract=contract, files=files, findings=())

    monkeypatch.setattr(walk, "scan", scan)


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        ("torch", "from_file", (b"\x88", number(4))),
        ("torch._C", "PyTorchFileWriter", ()),
        ("safetensors.numpy", "save_file", ()),
        ("readline", "write_history_file", ()),
    ],
)
def test_a_call_into_native_code_raises_no_event(
    module: str, function: str, arguments: tuple[bytes, ...], marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called writes a file, and no audit event tells of it: the call itself has to be stopped."""
    short_sighted(monkeypatch, (module, function))
    first = (mapping(),) if function == "save_file" else ()
    with pytest.raises(LoadBlocked, match=r"not accepted|part of Python"):
        pickle.loads(program(call(name(module, function), *first, text(str(marker)), *arguments)))
    assert not marker.exists()


@pytest.mark.usefixtures("person")
def test_another_interpreter_hears_no_event(marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, run = ("_xxsubinterpreters", "create"), ("_xxsubinterpreters", "run_string")
    short_sighted(monkeypatch, create, run)
    code = f"open({str(marker)!r}, 'w').close()"
    with pytest.raises(LoadBlocked):
        pickle.loads(program(call(name(*run), call(name(*create)), text(code))))
    assert not marker.exists()


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("where", ["bytes", "memory"])
def test_a_harmless_class_is_itself_changed(where: str) -> None:
    """Nobody is asked about data whose globals are harmless; the class that is named stays as it is."""
    change = tuple_of(b"N", mapping((text("most_common"), name("collections", "OrderedDict"))))
    data = program(state(name("collections", "Counter"), change))
    before = collections.Counter.most_common
    try:
        with pytest.raises(LoadBlocked):
            pickle.loads(data) if where == "bytes" else pickle.load(io.BytesIO(data))
        assert collections.Counter.most_common is before
    finally:
        collections.Counter.most_common = before  # type: ignore[method-assign]


def test_torchscript_is_exchanged_while_the_person_reads(
    tmp_path: Path, person: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")

    def scripted(add: int) -> bytes:
        held = io.BytesIO()
        torch.jit.save(torch.jit.trace(lambda x: x + add, torch.ones(1)), held)
        return held.getvalue()

    path = tmp_path / "model.pt"
    honest, other = scripted(1), scripted(2)
    path.write_bytes(honest)

    def ask(report: Report, decision: Any, request: Any) -> Any:
        with path.open("r+b") as file:
            file.write(other)
        return person(report, decision, request)

    monkeypatch.setattr(walk, "ask", ask)
    with pytest.raises(LoadBlocked, match="changed after it was scanned"):
        torch.jit.load(str(path))
