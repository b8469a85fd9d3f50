"""A loader that is only declared: what it is given, what is asked, and what it never gets to see."""

from __future__ import annotations

import io
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbguard import LoadBlocked, hooks
from nbguard.errors import TargetMissing
from nbguard.hooks.loaders import declared, entry, opening, table

SOURCE = """
seen = []
def load(path, *, safe=None, **more):
    if hasattr(path, "read"):
        return path.read()
    if isinstance(path, bytes):
        return path
    seen.append(path)
    while_loading(path)
    with open(path, "rb") as file:
        return file.read()
def load_folder(path):
    import os
    return sorted((base[len(str(path)):], sorted(files)) for base, _, files in os.walk(path))
def outer(path):
    return load(path + "/data.txt")
class Reader:
    @classmethod
    def from_file(cls, path):
        return load(path)
    def __init__(self, path=None):
        self.data = None if path is None else load(path)
def while_loading(path): pass
"""


@pytest.fixture
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Guard functions of a small library of our own with the entries that a test gives."""
    module = types.ModuleType("readers_of_things")
    exec(compile(SOURCE, __file__, "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    hooks.install()

    def guard(function: str = "load", source: tuple[str, ...] = ("path",), **more: Any) -> Any:
        given = {"name": f"readers.{function}", "enforced": "all", "scanned": "all", **more}
        loader = entry.Loader(module=module.__name__, function=function, source=source, **given)
        assert hooks._installed is not None
        declared.guard_module(hooks._installed, module, [loader])
        return module

    yield guard
    hooks.uninstall()


def text(path: Path, what: str = "plain data\n") -> str:
    path.write_text(what)
    return str(path)


def test_a_file_is_asked_about_and_read_through_the_scanned_handle(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    path = text(tmp_path / "model.txt")
    assert module.load(path) == b"plain data\n"
    assert [r.artifact.files[0].path for r in person.reports] == ["model.txt"]
    assert module.seen[0].startswith(("/proc/self/fd/", "/dev/fd/"))


def test_a_name_bound_before_is_caught_and_given_back_afterwards(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    load = module.load
    load(text(tmp_path / "m.txt"))
    assert len(person.reports) == 1
    hooks.uninstall()
    load(str(tmp_path / "m.txt"))
    assert len(person.reports) == 1


def test_a_refusal_reads_nothing(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        module.load(text(tmp_path / "m.txt"))
    assert module.seen == []


def test_what_cannot_be_verified_never_reaches_the_loader(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    path = tmp_path / "m.bin"
    path.write_bytes(os.urandom(64) + b"\x00\xff")
    with pytest.raises(LoadBlocked):
        module.load(str(path))
    assert module.seen == []


def test_bytes_and_streams_are_copied_before_the_scan(library: Any, person: Any) -> None:
    module = library()
    assert module.load(b"some text\n") == b"some text\n"
    stream = io.BytesIO(b"head some text\n")
    stream.seek(5)
    assert module.load(stream) == b"some text\n"
    assert stream.tell() == 15
    assert len(person.reports) == 2


def test_bytes_that_name_a_file_are_not_taken_for_data(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    with pytest.raises(LoadBlocked, match="name of a file"):
        module.load(os.fsencode(text(tmp_path / "m.txt")))


def test_a_folder_is_a_private_one_with_exactly_the_chosen_files(library: Any, person: Any, tmp_path: Path) -> None:
    module = library("load_folder", hand="staged", opens=opening.folder(lambda names, read: ["a.txt", "sub/b.txt"]))
    (tmp_path / "sub").mkdir()
    for name in ("a.txt", "sub/b.txt", "not-opened.pkl"):
        text(tmp_path / name)
    assert module.load_folder(str(tmp_path)) == [("", ["a.txt"]), ("/sub", ["b.txt"])]
    assert [f.path for f in person.reports[0].artifact.files] == ["a.txt", "sub/b.txt"]


def test_the_private_folder_is_gone_afterwards_and_keeps_the_name(library: Any, person: Any, tmp_path: Path) -> None:
    module = library(hand="staged")
    assert module.load(text(tmp_path / "model.json", '{"a": 1}')) == b'{"a": 1}'
    (given,) = module.seen
    assert os.path.basename(given) == "model.json"
    assert not os.path.exists(os.path.dirname(given))


def test_a_sealed_copy_is_what_is_scanned_and_loaded(library: Any, person: Any, tmp_path: Path) -> None:
    module = library(hand="sealed")
    path = text(tmp_path / "m.txt")
    module.while_loading = lambda given: Path(path).write_text("swapped")
    assert module.load(path) == b"plain data\n"


def test_a_file_that_is_written_to_while_it_loads_is_a_violation(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    path = text(tmp_path / "m.txt")
    module.while_loading = lambda given: Path(path).write_text("swapped")
    with pytest.raises(LoadBlocked, match="changed while"):
        module.load(path)


def test_a_load_inside_a_granted_one_asks_nothing_more(library: Any, person: Any, tmp_path: Path) -> None:
    library("outer", opens=opening.folder(), hand="staged")
    module = library()
    text(tmp_path / "data.txt")
    assert module.outer(str(tmp_path)) == b"plain data\n"
    assert len(person.reports) == 1


def test_methods_class_methods_and_calls_that_load_nothing(library: Any, person: Any, tmp_path: Path) -> None:
    library("Reader.__init__")
    module = library("Reader.from_file")
    path = text(tmp_path / "m.txt")
    assert module.Reader().data is None
    assert person.reports == []
    assert module.Reader.from_file(path) == module.Reader(path=Path(path)).data == b"plain data\n"
    assert len(person.reports) == 2


def test_arguments_are_changed_where_the_entry_says_so(library: Any, person: Any, tmp_path: Path) -> None:
    calls = []
    library(prepare=lambda call, grant: call.set("safe", True), finish=lambda call, grant, r: calls.append(call) or r)
    sys.modules["readers_of_things"].load(text(tmp_path / "m.txt"), extra=1)
    assert calls[0].get("safe") is True
    assert calls[0].get("extra") == 1


def test_a_missing_file_and_an_address_are_sentences(library: Any, person: Any, tmp_path: Path) -> None:
    module = library()
    with pytest.raises(TargetMissing):
        module.load(str(tmp_path / "none"))
    with pytest.raises(LoadBlocked, match="download it first"):
        module.load("https://127.0.0.1/model.bin")


def test_a_library_that_lacks_what_an_entry_names_still_imports(library: Any) -> None:
    library("no.such_function")


def test_every_entry_says_what_it_is_for_the_table() -> None:
    for loader in table():
        assert all((loader.name, loader.enforced, loader.scanned, loader.asks_about)), loader
        assert loader.guard or loader.function or not loader.module, loader.name


def test_a_c_function_is_caught_where_it_was_bound_before_and_given_back(
    library: Any, person: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = sys.modules["readers_of_things"]
    held.measure = os.path.getsize if not isinstance(os.path.getsize, types.FunctionType) else len  # type: ignore[attr-defined]
    early = types.ModuleType("imported_early")
    early.measure = held.measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, early.__name__, early)
    library("measure", signature=("path",), opens=lambda call: None)
    assert early.measure is held.measure is not len
    hooks.uninstall()
    assert early.measure is held.measure is len


def test_a_c_function_with_arguments_that_are_not_known_is_stopped(library: Any, person: Any, tmp_path: Path) -> None:
    held = sys.modules["readers_of_things"]
    held.parse = int  # type: ignore[attr-defined]
    module = library("parse", signature=("path",), opens=lambda call: None)
    with pytest.raises(LoadBlocked, match="not those that are known"):
        module.parse(text(tmp_path / "m.txt"), base=10)
