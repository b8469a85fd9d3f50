"""%safemodel and %%safemodel in a real IPython shell."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import nbguard
from nbguard import completion, history, magics
from nbguard.approvals import AuditLog, Store
from nbguard.commands import cells
from nbguard.errors import LoadBlocked
from nbguard.gate.answer import Answer

REVIEW = b"\x80\x04\x8c\x07mymodel\x8c\x05Model\x93)\x81}\x8c\x01a\x4b\x01sb."


class Bomb:
    """A pickle of this runs a command that writes a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


class Person:
    """Answers what it was told to, and remembers the questions."""

    def __init__(self) -> None:
        self.answer = "refuse"
        self.questions: list[tuple[str, str, str, tuple[str, ...]]] = []

    def __call__(self, report, decision, request) -> Answer:
        self.questions.append((report.target, report.verdict.word, decision.form, decision.offers))
        return Answer(self.answer, "ada", "because", "widget")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell with the extension loaded, in a folder with files; everything is given back at the end."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "nbguard-data"))
    monkeypatch.setattr(history, "_seen", type(history._seen)(maxlen=history.KEPT))
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "safe.pkl").write_bytes(pickle.dumps([1, 2]))
    (folder / "other.pkl").write_bytes(pickle.dumps({"a": "b"}))
    (folder / "review.pkl").write_bytes(REVIEW)
    (folder / "danger.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "marker")))
    (folder / "broken.pkl").write_bytes(pickle.dumps(list(range(1000)))[:100])
    monkeypatch.chdir(folder)
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "nbguard")
    yield made
    nbguard.uninstall()  # not %unload_ext: a test may have spoilt the audit log, and then that is refused
    magics.unregister(made)
    InteractiveShell.clear_instance()


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody who is asked before the cell, and inside it."""
    answers = Person()
    monkeypatch.setattr(cells, "ask", answers)
    monkeypatch.setattr(cells, "somebody_there", lambda: True)
    from nbguard.hooks import walk

    monkeypatch.setattr(walk, "ask", answers)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    monkeypatch.setattr(walk, "tell", lambda *_: None)
    return answers


def run(shell: InteractiveShell, cell: str) -> object:
    """What the cell put into `found`; raises its error."""
    shell.user_ns["found"] = None
    done = shell.run_cell(cell)
    done.raise_error()
    return shell.user_ns["found"]


# On a line


def test_help_without_arguments_and_with_a_question_mark(shell, capsys):
    run(shell, "%safemodel")
    plain = capsys.readouterr().out
    run(shell, "%safemodel?")
    asked = capsys.readouterr().out
    for text in (plain, asked):
        for word in ("scan", "status", "report", "approve", "revoke", "--expires", "%safemodel scan org/name"):
            assert word in text


def test_scan_shows_the_report(shell, capsys):
    run(shell, "%safemodel scan danger.pkl")
    out = capsys.readouterr().out
    assert "DANGER" in out
    assert "system" in out


def test_a_report_is_html_and_text(shell, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    run(shell, "%safemodel scan safe.pkl")
    assert set(shown[0]) == {"text/html", "text/plain"}
    assert "SAFE" in shown[0]["text/plain"]


def test_report_shows_an_earlier_one_again(shell, capsys):
    run(shell, "%safemodel scan danger.pkl")
    run(shell, "%safemodel scan safe.pkl")
    capsys.readouterr()
    run(shell, "%safemodel report")
    assert "SAFE" in capsys.readouterr().out
    run(shell, "%safemodel report 2")
    assert "DANGER" in capsys.readouterr().out


def test_approve_approvals_revoke(shell, capsys):
    run(shell, '%safemodel approve review.pkl --reason "looked at it" --expires 30d')
    (given,) = Store().list()
    assert given.reason == "looked at it"
    run(shell, "%safemodel approvals")
    assert given.id in capsys.readouterr().out
    run(shell, f"%safemodel revoke {given.id}")
    assert Store().list() == ()
    assert [e["event"] for e in AuditLog().entries()] == ["approval.given", "approval.revoked"]


def test_status(shell, capsys):
    run(shell, "%safemodel scan safe.pkl")
    capsys.readouterr()
    run(shell, "%safemodel status")
    out = capsys.readouterr().out
    for word in (nbguard.__version__, "balanced", "enforce", "on", "safe.pkl"):
        assert word in out


def test_status_says_what_is_wrong(shell, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("NBGUARD_MODE", "off")
    (tmp_path / "nbguard-data").mkdir()
    (tmp_path / "nbguard-data" / "approvals.sqlite3").write_bytes(b"nonsense")
    (tmp_path / "nbguard-data" / "approvals.sqlite3").chmod(0o600)
    (tmp_path / "nbguard-data" / "audit.jsonl").write_bytes(b"nonsense")
    run(shell, "%safemodel status")
    out = capsys.readouterr().out
    for word in ("strict", "mode must be one of", "damaged", "altered"):
        assert word in out


@pytest.mark.parametrize(
    "line",
    [
        "scan",
        "scan a b",
        "scan gone.pkl",
        "scan 'half",
        "nonsense",
        "report 0",
        "report x",
        "report 9",
        "report 1 2",
        "approve",
        "approve gone.pkl",
        "approve broken.pkl",
        "approve danger.pkl",
        "approve safe.pkl --expires soon",
        "revoke",
        "revoke nothing",
        "scan safe.pkl --unknown",
    ],
)
def test_bad_input_is_one_sentence(shell, capsys, line):
    done = shell.run_cell(f"%safemodel {line}")
    captured = capsys.readouterr()
    assert type(done.error_in_exec).__name__ == "UsageError"
    assert len(captured.err.strip().splitlines()) == 1
    assert "Traceback" not in captured.out + captured.err
    assert Store().list() == ()


def test_options_may_stand_anywhere_and_dollars_are_not_variables(shell, tmp_path, capsys):
    (tmp_path / "work" / "a$HOME.pkl").write_bytes(pickle.dumps(1))
    run(shell, "%safemodel scan --revision main 'a$HOME.pkl'")
    assert "SAFE" in capsys.readouterr().out


# Over a cell


def test_one_question_for_all_then_the_cell_runs(shell, person):
    person.answer = "once"
    cell = (
        "%%safemodel\nimport pickle\n"
        "a = pickle.load(open('safe.pkl', 'rb'))\nb = pickle.load(open('other.pkl', 'rb'))\nfound = [a, b]"
    )
    assert run(shell, cell) == [[1, 2], {"a": "b"}]
    assert person.questions == [("2 loads of this cell", "safe", "compact", ("once", "always", "refuse"))]
    events = [e["event"] for e in AuditLog().entries()]
    assert events == ["cell.once", "load.allowed", "load.allowed"]


def test_one_load_is_asked_about_by_its_own_name(shell, person):
    person.answer = "once"
    assert run(shell, "%%safemodel\nimport pickle\nfound = pickle.load(open('safe.pkl', 'rb'))") == [1, 2]
    assert person.questions[0][0] == "safe.pkl"


def test_what_was_accepted_for_the_cell_ends_with_it(shell, person):
    person.answer = "once"
    cell = "import pickle\npickle.load(open('safe.pkl', 'rb'))"
    run(shell, "%%safemodel\n" + cell)
    run(shell, cell)
    assert len(person.questions) == 2


def test_always_is_kept(shell, person):
    person.answer = "always"
    cell = "%%safemodel\nimport pickle\npickle.load(open('safe.pkl', 'rb'))"
    run(shell, cell)
    run(shell, cell)
    assert len(person.questions) == 1
    assert Store().list()[0].who == "ada"


def test_refused_the_cell_is_not_run(shell, person):
    shell.user_ns["ran"] = False
    with pytest.raises(LoadBlocked, match="not run"):
        run(shell, "%%safemodel\nran = True\nimport pickle\npickle.load(open('safe.pkl', 'rb'))")
    assert shell.user_ns["ran"] is False
    assert [e["event"] for e in AuditLog().entries()] == ["cell.refuse"]


def test_the_worst_of_a_cell_is_what_is_asked(shell, person, tmp_path):
    cell = "%%safemodel\nimport pickle\npickle.load(open('safe.pkl', 'rb'))\npickle.load(open('danger.pkl', 'rb'))"
    with pytest.raises(LoadBlocked):
        run(shell, cell)
    assert person.questions == [("2 loads of this cell", "danger", "danger", ("once", "refuse"))]
    assert not (tmp_path / "marker").exists()


def test_an_answer_that_was_not_offered_is_a_refusal(shell, person, tmp_path):
    person.answer = "always"
    with pytest.raises(LoadBlocked):
        run(shell, "%%safemodel\nimport pickle\npickle.load(open('danger.pkl', 'rb'))")
    assert Store().list() == ()
    assert not (tmp_path / "marker").exists()


def test_the_unverifiable_stops_the_cell_without_a_question(shell, person, monkeypatch):
    told = []
    monkeypatch.setattr("nbguard.gate.announce", lambda *arguments: told.append(arguments))
    person.answer = "once"
    with pytest.raises(LoadBlocked, match="could not be read to the end"):
        run(shell, "%%safemodel\nimport pickle\npickle.load(open('broken.pkl', 'rb'))")
    assert person.questions == []
    assert len(told) == 1


def test_where_nobody_can_be_asked_only_what_the_policy_allows_runs(shell, tmp_path):
    assert run(shell, "%%safemodel\nimport pickle\nfound = pickle.load(open('safe.pkl', 'rb'))") == [1, 2]
    for name in ("review", "danger", "broken"):
        with pytest.raises(LoadBlocked):
            run(shell, f"%%safemodel\nimport pickle\npickle.load(open('{name}.pkl', 'rb'))")
    assert not (tmp_path / "marker").exists()


def test_a_file_that_is_swapped_after_the_question_is_asked_about_again(shell, person, tmp_path):
    answers = iter(["once", "refuse"])
    ask = person.__class__.__call__

    def answer(report, decision, request):
        person.answer = next(answers)
        return ask(person, report, decision, request)

    cells.ask = answer
    from nbguard.hooks import walk

    walk.ask = answer
    cell = (
        "%%safemodel\nimport pickle, shutil\nshutil.copy('danger.pkl', 'safe.pkl')\npickle.load(open('safe.pkl', 'rb'))"
    )
    with pytest.raises(LoadBlocked):
        run(shell, cell)
    assert [q[1] for q in person.questions] == ["safe", "danger"]
    assert not (tmp_path / "marker").exists()


def test_what_is_not_there_yet_is_asked_about_when_it_is_loaded(shell, person, capsys):
    person.answer = "once"
    cell = (
        "%%safemodel\nimport pickle\npickle.dump([3], open('new.pkl', 'wb'))\n"
        "found = pickle.load(open('new.pkl', 'rb'))"
    )
    assert run(shell, cell) == [3]
    assert "when the cell loads it" in capsys.readouterr().out


def test_a_cell_without_loads_just_runs(shell, person):
    assert run(shell, "%%safemodel\nx = 20\nfound = x + 1") == 21
    assert person.questions == []


def test_the_cells_own_error_is_its_error_and_shown_once(shell, capsys):
    with pytest.raises(ZeroDivisionError):
        run(shell, "%%safemodel\n1 / 0")
    out = capsys.readouterr().out
    assert out.count("division by zero") == 1
    assert "cells.py" not in out


def test_a_cell_that_is_not_python(shell, capsys):
    with pytest.raises(cells.CellError):
        run(shell, "%%safemodel\nx = (")
    out = capsys.readouterr().out
    assert out.count("SyntaxError") == 1
    assert "cells.py" not in out


def test_a_refusal_shows_no_way_through_nbguard(shell, person, capsys):
    with pytest.raises(LoadBlocked):
        run(shell, "%%safemodel\nimport pickle\npickle.load(open('safe.pkl', 'rb'))")
    out = capsys.readouterr().out
    assert "LoadBlocked" in out
    assert "cells.py" not in out


def test_in_observe_mode_nothing_is_asked_or_stopped(shell, person, monkeypatch):
    monkeypatch.setenv("NBGUARD_MODE", "observe")
    assert run(shell, "%%safemodel\nimport pickle\nfound = pickle.load(open('safe.pkl', 'rb'))") == [1, 2]
    assert person.questions == []


def test_a_command_over_a_cell_is_a_sentence(shell, capsys):
    done = shell.run_cell("%%safemodel scan\n1")
    assert type(done.error_in_exec).__name__ == "UsageError"


def test_loading_and_unloading(shell):
    assert "safemodel" in shell.magics_manager.magics["line"]
    assert "safemodel" in shell.magics_manager.magics["cell"]
    nbguard.unload_ipython_extension(shell)
    assert "safemodel" not in shell.magics_manager.magics["line"]
    assert "safemodel" not in shell.magics_manager.magics["cell"]
    assert "%safemodel" not in shell.strdispatchers["complete_command"].strs
    nbguard.load_ipython_extension(shell)
    assert "safemodel" in shell.magics_manager.magics["line"]


# Completion


def completed(text: str) -> list[str]:
    return completion.complete(
        None, SimpleNamespace(text_until_cursor=text, line=text, symbol="", command="%safemodel")
    )


def test_completion_of_commands_and_options(shell):
    assert completed("%safemodel ap") == ["approve", "approvals"]
    assert set(completed("%safemodel ")) >= {"scan", "preflight", "status", "report", "approve", "revoke", "approvals"}
    assert completed("%safemodel approve x --ex") == ["--expires"]
    assert completed("%safemodel status ") == []
    with provisionalcompleter():
        assert "scan" in [c.text for c in shell.Completer.completions("%safemodel sc", 13)]


def test_completion_of_paths(shell, tmp_path):
    (tmp_path / "work" / "safe folder").mkdir()
    (tmp_path / "work" / "models").mkdir()
    (tmp_path / "work" / "models" / "a.pt").touch()
    assert completed("%safemodel scan safe") == ["safe.pkl"]
    assert completed("%safemodel scan mod") == ["models/"]
    assert completed("%safemodel scan models/") == ["models/a.pt"]
    assert completed("%safemodel scan /no/such/folder/") == []


def test_completion_of_cached_repositories(shell, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    for name in ("models--org--name", "models--gpt2", "datasets--org--data", "models--a--b--c", "models--x\n--y"):
        (cache / name).mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    assert completed("%safemodel scan or") == ["org/name"]
    assert list(completion.cached_repositories()) == ["gpt2", "org/name"]


def test_completion_of_revisions(shell, tmp_path, monkeypatch):
    for name in ("refs/main", "refs/v1.0", f"snapshots/{'a' * 40}"):
        (tmp_path / "hub" / "models--org--name" / name).mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert completed("%safemodel scan org/name --revision ") == ["main", "v1.0", "a" * 40]
    assert completed("%safemodel scan org/name --revision aa") == ["a" * 40]
    assert completed("%safemodel approve ../../etc --revision ") == []
    assert completed("%safemodel scan --revision ") == []


def test_completion_of_switches_records_and_their_values(shell):
    assert completed("%safemodel o") == ["on", "off"]
    assert completed("%safemodel off --r") == ["--reason"]
    assert completed("%safemodel approve x --expires 3") == ["30d", "365d"]
    assert "prune" in completed("%safemodel approvals ")
    assert completed("%safemodel approvals --verdict d") == ["danger"]
    assert completed("%safemodel audit ver") == ["verify"]
    assert completed("%safemodel audit --ev") == ["--event"]
    assert completed("%safemodel approvals --who ") == []
    run(shell, "%safemodel approve review.pkl")
    (given,) = Store().list()
    assert given.id in completed("%safemodel approvals show ")


def test_completion_of_approvals_and_reports(shell):
    run(shell, "%safemodel approve review.pkl")
    (given,) = Store().list()
    assert completed("%safemodel revoke ") == [given.id]
    run(shell, "%safemodel scan safe.pkl")
    assert completed("%safemodel report ") == ["1"]
