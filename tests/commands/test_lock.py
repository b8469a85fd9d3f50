"""`nbguard lock`: what is written, what is compared, and what an upgrade shows before it is accepted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from traitlets.config import Config

from nbguard.approvals import AuditLog
from nbguard.cli import main
from nbguard.commands import lock as locking
from nbguard.commands import lock_notebook
from nbguard.provenance.lockfile import NAME, read

_made = iter(range(1, 1000))


class Reduced:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made = (call, arguments)

    def __reduce__(self) -> Any:
        return self.made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("NBGUARD_LOCK", raising=False)
    place = tmp_path / "work"
    place.mkdir()
    (place / "a.pkl").write_bytes(pickle.dumps([1, 2]))
    (place / "bad.pkl").write_bytes(pickle.dumps(Reduced(os.system, f"touch {tmp_path / 'marker'}")))
    (place / "broken.pkl").write_bytes(pickle.dumps(list(range(1000)))[:100])
    monkeypatch.chdir(place)
    return place


def push(hub: Hub, demo: str) -> str:
    repo = f"demo/lock-{next(_made)}"
    hub.store.push(repo, files_of(demo))
    return repo


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["lock", *arguments])
    out = capsys.readouterr()
    return code, out.out + out.err


def test_files_and_repositories_are_locked_and_checked(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = push(hub, "demo/tiny-bert")
    code, out = said(capsys, "a.pkl", f"{repo}@main")
    assert code == 0, out
    local, remote = sorted(read(NAME).entries, key=lambda e: e.hub)
    assert (local.source, local.revision, local.commit) == ("a.pkl", "", "")
    assert (remote.source, remote.revision, remote.commit) == (f"hf://{repo}", "main", hub.store.resolve(repo, "main"))
    assert "model.safetensors" in {f.path for f in remote.files}
    before = Path(NAME).read_bytes()
    code, out = said(capsys)
    assert (code, Path(NAME).read_bytes()) == (0, before)
    assert "is locked already" in out
    assert said(capsys, "--check") == (0, f"a.pkl: as locked\nhf://{repo} at {remote.commit[:12]}: as locked\n")
    assert [e["targets"] for e in AuditLog().entries() if e["event"] == "lock.written"] == [["a.pkl", f"hf://{repo}"]]


def test_a_check_names_the_file_and_the_change(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "a.pkl").write_bytes(pickle.dumps(1))
    (folder / "m" / "b.pkl").write_bytes(pickle.dumps(2))
    assert said(capsys, "m", "a.pkl")[0] == 0
    (folder / "m" / "a.pkl").write_bytes((folder / "bad.pkl").read_bytes())
    (folder / "m" / "b.pkl").unlink()
    (folder / "m" / "c.pkl").write_bytes(pickle.dumps(3))
    code, out = said(capsys, "--check")
    assert code == 1
    for change in (
        "a.pkl: as locked", "m: a.pkl: other bytes than locked", "m: new file c.pkl", "m: b.pkl is gone",
        "m: new global posix.system", "m: judged danger now, and safe when it was locked",
    ):  # fmt: skip
        assert change in out.splitlines(), out
    code, out = said(capsys, "--check", "--format", "json", "m")
    (found,) = json.loads(out)["entries"]
    assert (code, found["as_locked"]) == (1, False)
    assert {"file": "c.pkl", "change": "new file c.pkl"} in found["changes"]
    (folder / "a.pkl").unlink()
    assert said(capsys, "--check", "a.pkl")[0] == 2
    assert said(capsys, "--check", "unknown.pkl")[0] == 2
    Path(NAME).unlink()
    for command in ("--check", "--upgrade"):
        code, out = said(capsys, command)
        assert code == 2
        assert f"There is no {NAME} here ({folder / NAME}); `nbguard lock` writes one." in out


def test_what_cannot_stand_in_a_lock_is_named_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "a\\b.pkl").write_bytes(pickle.dumps(1))
    code, out = said(capsys, "m")
    assert code == 1
    assert out.startswith("m: not locked: 'a"), out


def test_to_lock_is_to_accept(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = said(capsys, "a.pkl", "bad.pkl", "broken.pkl", "missing.pkl")
    assert code == 2
    assert [e.source for e in read(NAME).entries] == ["a.pkl"]
    assert "say so with --i-accept-danger" in out
    assert "could not be read to the end" in out
    assert "There is no file or folder missing.pkl" in out
    assert said(capsys, "a.pkl", "bad.pkl")[0] == 1
    assert said(capsys, "broken.pkl", "--reason", "x", "--i-accept-danger")[0] == 1
    code, out = said(capsys, "bad.pkl", "--i-accept-danger")
    assert (code, "with --reason" in out) == (1, True)
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    code, out = said(capsys, "bad.pkl", "--reason", "x", "--i-accept-danger")
    assert (code, "lets nobody approve what is dangerous" in out) == (1, True)
    monkeypatch.delenv("NBGUARD_POLICY")
    assert said(capsys, "bad.pkl", "--reason", "a sample", "--i-accept-danger")[0] == 0
    entry = next(e for e in read(NAME).entries if e.source == "bad.pkl")
    assert (entry.verdict.word, entry.reason, entry.globals) == ("danger", "a sample", ("posix.system",))


def test_code_is_locked_with_a_reason_or_a_word_at_the_terminal(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = push(hub, "demo/tiny-custom")
    code, out = said(capsys, f"hf://{repo}")
    assert (code, "accept it with --reason" in out) == (1, True)
    assert not Path(NAME).exists()
    monkeypatch.setattr(locking, "interactive", lambda: True)
    for answer, expected in (("", 1), ("no", 1), ("read by me", 0)):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert said(capsys, f"hf://{repo}")[0] == expected
    assert read(NAME).entries[0].reason == "read by me"


def test_what_was_approved_before_is_locked_with_its_reason_and_says_by_whom(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nbguard.commands import actions

    repo = push(hub, "demo/tiny-custom")
    given, _ = actions.approve(f"hf://{repo}", reason="read in March")
    code, out = said(capsys, f"hf://{repo}")
    assert (code, f"; approved before by {given.who}, approval {given.id}" in out) == (0, True), out
    assert read(NAME).entries[0].reason == "read in March"


def test_what_a_notebook_names_is_locked_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = folder / "books" / "n.ipynb"
    book.parent.mkdir()
    (book.parent / "x.pkl").write_bytes(pickle.dumps(1))
    source = "import pickle\npickle.load(open('x.pkl', 'rb'))\npickle.load(open(path, 'rb'))"
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    book.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    code, out = said(capsys, "--notebook", str(book))
    assert code == 0, out
    assert [e.source for e in read(str(book.parent / NAME)).entries] == ["x.pkl"]
    assert "Not known before it runs, so not locked: cell 1, line 3" in out


def test_an_upgrade_shows_files_code_and_globals_before_anything_is_written(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = push(hub, "demo/tiny-custom")
    assert said(capsys, f"hf://{repo}", "--reason", "read")[0] == 0
    before = Path(NAME).read_bytes()
    assert said(capsys, "--upgrade") == (0, f"hf://{repo}: up to date at {read(NAME).entries[0].commit[:12]}\n")
    files = dict(files_of("demo/tiny-custom"))
    name = next(n for n in files if n.startswith("modeling") and n.endswith(".py"))
    files[name] += b"\nEVIL = '\x1b[2J'\n"
    files["modeling_extra.py"] = b"x = 1\n"
    files["extra.pkl"] = pickle.dumps(Reduced(print, 1))
    hub.store.push(repo, files)
    code, out = said(capsys, "--upgrade")
    assert (code, Path(NAME).read_bytes()) == (1, before)
    assert "locked what had this name on" in out
    assert f"Changed: {name}" in out
    assert "extra.pkl" in out
    now = hub.store.resolve(repo, "main")
    assert ("revision: main" in out, out.count(now)) == (True, 1)
    assert "+EVIL = '\\x1b[2J'" in out
    assert "\x1b[2J" not in out
    assert "Python names that are new: builtins.print" in out
    code, out = said(capsys, "--upgrade", "--yes", "--format", "json")
    (row,) = json.loads(out)["upgrades"]
    since = row["report"]["since_accepted"]
    assert (code, row["written"], since["how"]) == (1, False, "locked")
    assert "extra.pkl" in since["files"]["added"]
    assert since["files"]["changed"] == [name]
    assert since["globals"]["added"] == ["builtins.print"]
    assert since["verdict"]["then"] == "review"
    assert Path(NAME).read_bytes() == before
    assert said(capsys, f"hf://{repo}")[0] == 0  # locking again goes on with the locked commit
    assert Path(NAME).read_bytes() == before


def test_a_safe_upgrade_is_taken_with_yes(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = push(hub, "demo/tiny-bert")
    assert said(capsys, f"hf://{repo}")[0] == 0
    files = dict(files_of("demo/tiny-bert"))
    files["config.json"] = files["config.json"].replace(b'"hidden_size": 32', b'"hidden_size": 64')
    hub.store.push(repo, files)
    code, out = said(capsys, "--upgrade")
    assert code == 1
    assert '-  "hidden_size": 32' in out
    assert "accept it with --yes" in out
    assert said(capsys, "--upgrade", "--yes")[0] == 0
    assert read(NAME).entries[0].commit == hub.store.resolve(repo, "main")
    assert said(capsys, "--check")[0] == 0


def test_large_files_are_compared_without_downloading_them(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repo = push(hub, "demo/tiny-bert")
    files = {**files_of("demo/tiny-bert"), "model.safetensors": weights(0)}
    hub.store.push(repo, files)
    assert said(capsys, f"hf://{repo}")[0] == 0
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))
    assert said(capsys, "--check")[0] == 0
    hub.store.push(repo, {**files, "model.safetensors": weights(1)})
    assert said(capsys, "--check")[0] == 0
    code, out = said(capsys, "--upgrade", "--format", "json")
    (row,) = json.loads(out)["upgrades"]
    assert (code, row["report"]["since_accepted"]["files"]["changed"]) == (1, ["model.safetensors"])
    text = Path(NAME).read_text()
    pin = next(f for f in read(NAME).entries[0].files if f.path == "model.safetensors")
    Path(NAME).write_text(text.replace(pin.whole, "0" * 64))
    code, out = said(capsys, "--check")
    assert (code, "model.safetensors: other bytes than locked" in out) == (1, True)


def test_nothing_of_a_repository_is_downloaded_whether_it_is_locked_or_not(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    plain, code = push(hub, "demo/tiny-bert"), push(hub, "demo/tiny-custom")
    large = f"demo/lock-{next(_made)}"
    hub.store.push(large, {**files_of("demo/tiny-bert"), "model.safetensors": weights(0)})
    harm = f"demo/lock-{next(_made)}"
    hub.store.push(harm, {"config.json": b"{}", "pytorch_model.bin": pickle.dumps(Reduced(os.system, "true"))})
    book = folder / "n.ipynb"
    source = f"from transformers import AutoModel\nAutoModel.from_pretrained({large!r})"
    cell = {"cell_type": "code", "source": source, "metadata": {}, "outputs": []}
    book.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert said(capsys, f"hf://{plain}")[0] == 0
    assert said(capsys, "--notebook", str(book))[0] == 0
    assert said(capsys, f"hf://{code}", f"hf://{harm}")[0] == 1
    assert said(capsys, f"hf://{code}", "--reason", "read")[0] == 0
    assert [e.source for e in read(NAME).entries] == sorted(f"hf://{r}" for r in (plain, large, code))
    (pin,) = (f for e in read(NAME).entries for f in e.files if e.source == f"hf://{large}" and f.size > 1 << 20)
    assert pin.whole == hashlib.sha256(weights(0)).hexdigest()
    kept = {p.name for p in Path(constants.HF_HUB_CACHE).glob("models--*")}
    assert not kept & {f"models--{r.replace('/', '--')}" for r in (plain, large, code, harm)}


def test_a_name_made_to_be_taken_for_another_needs_the_flag_and_a_reason(
    hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false = "meta-Ilama/Llama-3.1-8B"
    hub.store.push(false, files_of("demo/tiny-bert"))
    for command in ("approve", "lock"):
        for given, expected in (
            ([], "say so with --i-accept-danger and a --reason"),
            (["--reason", "mine"], "say so with --i-accept-danger and a --reason"),
            (["--i-accept-danger"], "--reason"),
        ):
            assert main([command, f"hf://{false}", *given]) != 0
            out = "".join(capsys.readouterr())
            assert expected in out, (command, given, out)
        assert "was made to be taken for meta-llama/Llama-3.1-8B" in out or command == "lock"
        assert not Path(NAME).exists()
        code = main([command, f"hf://{false}", "--i-accept-danger", "--reason", "mine"])
        assert code == 0, capsys.readouterr()
        capsys.readouterr()
        if command == "approve":
            assert main(["revoke", f"hf://{false}"]) == 0


def weights(last: int) -> bytes:
    size = 2 << 20
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size - 1) + bytes([last])


# in a notebook


@pytest.fixture
def shell(folder: Path) -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "nbguard")
    yield made
    made.run_line_magic("unload_ext", "nbguard")
    InteractiveShell.clear_instance()


def test_the_magic_locks_what_this_session_loaded(
    folder: Path, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nbguard import history
    from nbguard.commands import actions

    history._seen.clear()
    history.note(actions.scan_target("a.pkl"), "load.accepted")
    history.note(actions.scan_target("bad.pkl"), "load.refused")
    shell.run_line_magic("safemodel", "lock")
    assert [e.source for e in read(NAME).entries] == ["a.pkl"]
    asked: list[str] = []

    def ask(report: Any, opened: Any) -> tuple[bool, str]:
        asked.append(report.verdict.word)
        return True, "in the cell"

    monkeypatch.setattr(lock_notebook, "somebody_there", lambda: True)
    monkeypatch.setattr(lock_notebook, "gate_ask", ask)
    shell.run_line_magic("safemodel", "lock bad.pkl --i-accept-danger")
    assert asked == ["danger"]
    assert {e.source: e.reason for e in read(NAME).entries} == {"a.pkl": "", "bad.pkl": "in the cell"}
    capsys.readouterr()
    shell.run_line_magic("safemodel", "lock --check")
    assert capsys.readouterr().out == "a.pkl: as locked\nbad.pkl: as locked\n"
    with pytest.raises(UsageError, match="is not in"):
        shell.run_line_magic("safemodel", "lock --check nothing.pkl")


def test_the_lock_of_the_notebook_that_runs_holds_wherever_the_kernel_works(
    folder: Path, shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nbguard import history
    from nbguard.hooks import locked

    book = folder / "books" / "n.ipynb"
    book.parent.mkdir()
    cell = {"cell_type": "code", "source": "import pickle\npickle.load(open('a.pkl', 'rb'))", "metadata": {}}
    book.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.setenv("JPY_SESSION_NAME", str(book))
    history._seen.clear()
    shell.run_line_magic("safemodel", "lock")
    assert [e.source for e in read(str(book.parent / NAME)).entries] == ["../a.pkl"]
    assert locked.place() == str(book.parent / NAME)
    capsys.readouterr()
    shell.run_line_magic("safemodel", "status")
    assert f"{book.parent / NAME}: 1 source" in capsys.readouterr().out
    (folder / NAME).write_text("version = 1\n")
    assert locked.place() == str(book.parent / NAME)
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert locked.place() == str(folder / NAME)
