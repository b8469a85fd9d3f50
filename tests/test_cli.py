"""The command line: exit codes, formats, one sentence for everything that goes wrong."""

from __future__ import annotations

import collections
import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nbguard
from nbguard import cli
from nbguard.approvals import AuditLog, Store
from nbguard.artifact.model import Artifact, ArtifactFile
from nbguard.commands.actions import ActionError, expiry
from nbguard.commands.options import FAIL_ON
from nbguard.commands.scan import exit_code
from nbguard.report.model import FileReport, Finding, Report, Severity, Verdict


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "nbguard-data"))


class Bomb:
    """A pickle of this runs a command that writes a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def safe(tmp_path: Path) -> Path:
    path = tmp_path / "safe.pkl"
    path.write_bytes(pickle.dumps({"weights": [1.0, 2.0], "names": collections.OrderedDict(a=1)}))
    return path


@pytest.fixture
def review(tmp_path: Path) -> Path:
    path = tmp_path / "review.pkl"
    path.write_bytes(b"\x80\x04\x8c\x07mymodel\x8c\x05Model\x93)\x81}\x8c\x01a\x4b\x01sb.")
    return path


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def danger(tmp_path: Path, marker: Path) -> Path:
    path = tmp_path / "danger.pkl"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    return path


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    path = tmp_path / "truncated.pkl"
    path.write_bytes(pickle.dumps({"weights": list(range(1000))})[:200])
    return path


def document(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


# Exit codes


def made(verdict: Verdict, *severities: Severity, file_verdict: Verdict | None = None) -> Report:
    artifact = Artifact("m", "path", (ArtifactFile("m", 1, "pickle", "sha256:00"),))
    files = (FileReport("m", 1, "pickle", verdict if file_verdict is None else file_verdict),)
    return Report("m", artifact, files, tuple(Finding("r", s, "m", "", "text") for s in severities))


S, R, U, D = Verdict.SAFE, Verdict.REVIEW, Verdict.UNVERIFIABLE, Verdict.DANGER
LOW, MEDIUM, HIGH, CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL


@pytest.mark.parametrize(
    ("reports", "failed", "codes"),
    [
        ([], False, (0, 0, 0, 0)),
        ([], True, (2, 2, 2, 2)),
        ([made(S)], False, (0, 0, 0, 0)),
        ([made(S)], True, (2, 2, 2, 2)),
        ([made(S, LOW)], False, (1, 0, 0, 0)),
        ([made(R, MEDIUM)], False, (1, 1, 0, 0)),
        ([made(D, CRITICAL)], False, (1, 1, 1, 1)),
        ([made(D, HIGH)], False, (1, 1, 1, 0)),
        ([made(D)], False, (1, 1, 1, 0)),
        ([made(U, HIGH)], False, (2, 2, 2, 2)),
        ([made(U, HIGH), made(S)], False, (2, 2, 2, 2)),
        ([made(U, HIGH), made(R, MEDIUM)], False, (1, 1, 2, 2)),
        ([made(U, HIGH), made(D, CRITICAL)], True, (1, 1, 1, 1)),
        ([made(D, CRITICAL)], True, (1, 1, 1, 1)),
        ([made(R, MEDIUM)], True, (1, 1, 2, 2)),
    ],
)
def test_exit_codes(reports, failed, codes):
    assert tuple(exit_code(reports, Severity[f.upper()], failed=failed) for f in FAIL_ON) == codes


def test_nothing_but_unreadable_files_is_two(safe, truncated):
    assert cli.main(["scan", str(truncated)]) == 2
    assert cli.main(["scan", str(safe), str(truncated)]) == 2


def test_safe_is_zero_and_danger_is_one(safe, danger, truncated, marker):
    assert cli.main(["scan", str(safe)]) == 0
    assert cli.main(["scan", str(danger)]) == 1
    assert cli.main(["scan", str(safe), str(truncated), str(danger)]) == 1
    assert not marker.exists()


def test_fail_on(review):
    assert cli.main(["scan", str(review), "--fail-on", "critical"]) == 0
    assert cli.main(["scan", str(review), "--fail-on", "low"]) == 1


def test_what_cannot_be_scanned_is_a_sentence_and_two_and_the_others_are_reported(safe, tmp_path, capsys):
    missing = str(tmp_path / "gone.pkl")
    assert cli.main(["scan", missing, str(safe), "--format", "json"]) == 2
    captured = capsys.readouterr()
    assert [r["target"] for r in json.loads(captured.out)["reports"]] == [str(safe)]
    assert captured.err.count("\n") == 1
    assert "gone.pkl" in captured.err
    assert "Traceback" not in captured.err


def test_bad_targets_are_one_sentence_each(tmp_path, capsys):
    empty = tmp_path / "empty-folder"
    empty.mkdir()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target in (str(empty), str(fifo), "", "a\0b", "no/such-repository", "hf://", "x" * 5000, "../nothing"):
        assert cli.main(["scan", target]) == 2, target
        captured = capsys.readouterr()
        assert captured.out == "", target
        assert captured.err.startswith("nbguard: "), target
        assert captured.err.count("\n") == 1, target
        assert "Traceback" not in captured.err
        assert "error in nbguard" not in captured.err


def test_a_word_may_have_meant_a_repository(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for word in ("gpt2", "bert-base-uncased", "model-v1.5"):
        assert cli.main(["scan", word]) == 2
        said = f"nbguard: There is no file or folder {word}. For a repository on the Hub write hf://{word}.\n"
        assert capsys.readouterr().err == said
    for word in ("nope.pkl", "./gpt2"):
        assert cli.main(["scan", word]) == 2
        assert "hf://" not in capsys.readouterr().err
    assert cli.main(["scan", ""]) == 2
    assert "An empty name was given" in capsys.readouterr().err


def test_an_address_of_the_hub_that_is_set_names_a_repository(hub, capsys):
    from huggingface_hub import constants
    from loopback_hub import offer

    commit = offer(hub.store, "demo/tiny-bert")
    for path in ("demo/tiny-bert", "demo/tiny-bert/", "demo/tiny-bert/tree/main", f"demo/tiny-bert/tree/{commit}"):
        assert cli.main(["scan", f"{constants.ENDPOINT}/{path}", "--format", "json"]) == 0
        (report,) = document(capsys)["reports"]
        assert (report["artifact"]["kind"], report["artifact"]["commit"]) == ("hub", commit)
    assert cli.main(["scan", f"{constants.ENDPOINT}/gpt2"]) == 2
    assert "file or folder" not in capsys.readouterr().err  # it was the Hub that was asked


@pytest.mark.parametrize("path", ["", "datasets/org", "org/name/tree/a/b", "org/name/blob/main/x", "org/name/tree"])
def test_other_addresses_are_refused(path, capsys):
    from huggingface_hub import constants

    assert cli.main(["scan", f"{constants.ENDPOINT}/{path}"]) == 2
    assert "is not the address of a model repository" in capsys.readouterr().err
    assert cli.main(["scan", "http://127.0.0.1:9/org/name"]) == 2
    assert f"one looks like {constants.ENDPOINT}/org/name" in capsys.readouterr().err


def test_a_missing_target_is_a_missing_file_to_other_code(tmp_path):
    missing = str(tmp_path / "gone.pkl")
    with pytest.raises(FileNotFoundError) as stopped:
        nbguard.scan(missing)
    assert (stopped.value.errno, stopped.value.filename) == (errno.ENOENT, missing)
    assert str(stopped.value) == f"There is no file or folder {missing}."
    again = pickle.loads(pickle.dumps(stopped.value))
    assert (str(again), again.filename, again.errno) == (str(stopped.value), missing, errno.ENOENT)


# Formats


def test_json_is_the_documented_form(safe, danger, capsys):
    cli.main(["scan", str(danger), str(safe), "--format", "json"])
    found = document(capsys)
    assert found["schema"] == "nbguard.report/1"
    assert [r["target"] for r in found["reports"]] == [str(danger), str(safe)]
    assert [r["verdict"] for r in found["reports"]] == ["danger", "safe"]
    for report in found["reports"]:
        assert {"target", "verdict", "artifact", "files", "findings", "contract", "not_scanned"} <= set(report)
        assert {"digest", "programs", "globals", "calls", "code", "native", "effects"} <= set(report["contract"])
        assert {"path", "size", "format", "verdict", "inert"} <= set(report["files"][0])
    finding = found["reports"][0]["findings"][0]
    assert {"rule", "severity", "file", "location", "message", "remedy"} <= set(finding)


def test_the_target_is_reported_as_it_was_given(safe, capsys, monkeypatch):
    monkeypatch.chdir(safe.parent)
    cli.main(["scan", "./safe.pkl", "safe.pkl", "--format", "json"])
    assert [r["target"] for r in document(capsys)["reports"]] == ["./safe.pkl", "safe.pkl"]


def test_text_says_the_verdict(safe, danger, capsys):
    cli.main(["scan", str(safe), str(danger)])
    out = capsys.readouterr().out
    assert "SAFE" in out
    assert "DANGER" in out
    assert "\x1b" not in out


def test_html_is_one_page(safe, danger, capsys):
    cli.main(["scan", str(safe), str(danger), "--format", "html"])
    out = capsys.readouterr().out
    assert out.lstrip().lower().startswith("<!doctype html")
    assert out.lower().count("<html") == 1


@pytest.mark.parametrize("form", ["text", "json", "html"])
def test_output_goes_to_a_file(form, safe, tmp_path, capsys):
    target = tmp_path / "out"
    target.write_text("before")
    assert cli.main(["scan", str(safe), "--format", form, "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert "safe.pkl" in target.read_text("utf-8")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".nbguard-")] == []


def test_an_output_that_cannot_be_written_is_two(safe, tmp_path, capsys):
    assert cli.main(["scan", str(safe), "--output", str(tmp_path / "no" / "folder" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_said_before_the_scan(safe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nbguard.commands.actions.scan_target", lambda *a, **k: pytest.fail("it was scanned"))
    for output in (tmp_path / "no" / "out", tmp_path, "/nonexistent/x.txt"):
        assert cli.main(["scan", str(safe), "--output", str(output)]) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".nbguard-")] == []


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are always UTF-8 there")
def test_names_that_are_not_utf8_are_printed_escaped(tmp_path):
    path = os.fsencode(tmp_path) + b"/odd-\xff.pkl"
    with open(path, "wb") as file:
        file.write(pickle.dumps([1]))
    for form in ("text", "json", "html"):
        done = subprocess.run(
            [sys.executable, "-m", "nbguard", "scan", path, b"gone-\xff", "--format", form],
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 2
        done.stdout.decode("utf-8")
        assert b"Traceback" not in done.stderr
        assert rb"\xff" in done.stdout.replace(b"<span>\\</span>", b"\\").replace(b"\\\\", b"\\")


def test_hostile_names_do_not_drive_the_terminal(tmp_path, capsys):
    path = tmp_path / "x\x1b[2J\u202e.pkl"
    path.write_bytes(pickle.dumps([1]))
    cli.main(["scan", str(path), str(path) + "gone"])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert "\x1b" not in text
        assert "\u202e" not in text


# Approvals


def test_approve_list_revoke(review, capsys):
    assert cli.main(["approve", str(review), "--reason", "looked at it", "--expires", "30d"]) == 0
    assert "Approved as" in capsys.readouterr().out
    assert cli.main(["approvals", "--format", "json"]) == 0
    (listed,) = document(capsys)["approvals"]
    assert (listed["target"], listed["reason"], listed["verdict"]) == (str(review), "looked at it", "review")
    assert cli.main(["approvals"]) == 0
    assert listed["id"] in capsys.readouterr().out
    assert cli.main(["revoke", listed["id"]]) == 0
    assert Store().list() == ()
    assert cli.main(["revoke", listed["id"]]) == 2
    assert [e["event"] for e in AuditLog().entries()] == ["approval.given", "approval.revoked"]


def test_an_approval_is_for_what_a_load_would_open(review):
    assert cli.main(["approve", str(review)]) == 0
    from nbguard.artifact.sources import open_bytes
    from nbguard.commands.actions import scan_opened

    with open_bytes(review.read_bytes()) as opened:
        assert Store().find(scan_opened(opened, "<stream>"), opened) is not None


def test_the_unverifiable_cannot_be_approved(truncated, capsys):
    assert cli.main(["approve", str(truncated), "--i-accept-danger"]) == 2
    assert "cannot be approved" in capsys.readouterr().err
    assert Store().list() == ()


def test_danger_needs_words_and_a_policy(danger, marker, capsys, monkeypatch):
    assert cli.main(["approve", str(danger)]) == 2
    assert "--i-accept-danger" in capsys.readouterr().err
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    assert cli.main(["approve", str(danger), "--i-accept-danger"]) == 2
    assert Store().list() == ()
    monkeypatch.setenv("NBGUARD_POLICY", "balanced")
    capsys.readouterr()
    assert cli.main(["approve", str(danger), "--i-accept-danger"]) == 2
    assert "--reason" in capsys.readouterr().err
    assert cli.main(["approve", str(danger), "--i-accept-danger", "--reason", "a test of ours"]) == 0
    assert Store().list()[0].expires is not None
    assert not marker.exists()


def test_approving_by_digest(review, capsys):
    assert cli.main(["approve", str(review), "--digest", "0" * 64]) == 2
    assert Store().list() == ()
    cli.main(["scan", str(review), "--format", "json"])
    capsys.readouterr()
    cli.main(["scan", str(review), "--format", "json"])
    digest = document(capsys)["reports"][0]["artifact"]["digest"]
    assert cli.main(["approve", str(review), "--digest", f"sha256:{digest}"]) == 0
    assert cli.main(["approve", str(review), "--digest", digest[:12]]) == 0
    capsys.readouterr()
    assert cli.main(["approve", str(review), "--digest", digest[:4]]) == 2
    assert "12 to 64 of its hexadecimal digits, and this has 4" in capsys.readouterr().err
    assert cli.main(["approve", str(review), "--digest", "the-right-one"]) == 2
    assert "hexadecimal digits (0-9, a-f)" in capsys.readouterr().err


def test_an_approval_that_cannot_be_logged_is_not_given(review, monkeypatch, tmp_path):
    (tmp_path / "nbguard-data").mkdir()
    (tmp_path / "nbguard-data" / "audit.jsonl").mkdir()
    assert cli.main(["approve", str(review)]) == 2
    assert Store().list() == ()


def test_damaged_approvals_are_one_sentence(review, tmp_path, capsys):
    (tmp_path / "nbguard-data").mkdir()
    database = tmp_path / "nbguard-data" / "approvals.sqlite3"
    database.write_bytes(b"not a database" * 100)
    database.chmod(0o600)
    for command in (["approvals"], ["revoke", "x"], ["approve", str(review)]):
        assert cli.main(command) == 2
        assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * 86_400), ("12h", 43_200), ("4w", 28 * 86_400), ("90m", 5_400), (" 1D ", 86_400)],
)
def test_expiry(text, seconds):
    assert expiry(text, now=1000.0) == 1000.0 + seconds
    assert expiry("never") is None


def test_expiry_on_a_date_is_its_end():
    assert expiry("2027-01-31", now=1_700_000_000.0) == 1_801_440_000.0


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "2001-01-01", "2027-13-01", "999999999w", "soon", "1e3d", "٣d"]
)
def test_an_expiry_that_cannot_be(text):
    with pytest.raises(ActionError):
        expiry(text)


# Audit


def test_audit_verify_and_tail(review, capsys):
    assert cli.main(["audit", "verify"]) == 0
    cli.main(["approve", str(review)])
    capsys.readouterr()
    assert cli.main(["audit", "verify"]) == 0
    assert "1 entries" in capsys.readouterr().out.replace("1 entry", "1 entries")
    assert cli.main(["audit", "tail", "-n", "5"]) == 0
    assert "approval.given" in capsys.readouterr().out
    cli.main(["audit"])
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) <= 125
    assert re.search(r"artifact=[0-9a-f]{12}( |$)", line)
    assert "verdict=review" in line
    assert cli.main(["audit", "--format", "json"]) == 0
    assert document(capsys)["entries"][0]["event"] == "approval.given"
    log = AuditLog()
    log.path.write_bytes(log.path.read_bytes().replace(b"approval.given", b"approval.taken"))
    assert cli.main(["audit", "verify"]) == 1
    assert "Line 1" in capsys.readouterr().err


# The whole


def test_version_and_help(capsys):
    for arguments in (["--version"], ["--help"], ["scan", "--help"], ["approve", "--help"], ["audit", "--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
    assert nbguard.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["scan"], ["scan", "x", "--fail-on", "none"], ["nonsense"]])
def test_wrong_usage_is_two(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_bad_configuration_is_said_and_strict_holds(safe, monkeypatch, capsys):
    monkeypatch.setenv("NBGUARD_POLICY", "lax")
    assert cli.main(["scan", str(safe)]) == 0
    assert "'strict' holds" in capsys.readouterr().err


def test_an_error_of_ours_is_one_sentence(safe, monkeypatch, capsys):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("nbguard.commands.actions.scan_target", broken)
    assert cli.main(["scan", str(safe)]) == 2
    captured = capsys.readouterr()
    assert "RuntimeError" in captured.err
    assert "Traceback" not in captured.err


def test_an_interrupt_is_130(safe, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nbguard.commands.actions.scan_target", interrupted)
    assert cli.main(["scan", str(safe)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_real_interrupt_is_130_and_no_traceback(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code = (
        "import sys, nbguard.commands.actions as a, nbguard.cli as c\n"
        f"a.scan_target = lambda *_, **__: (print('ready', flush=True), open({str(tmp_path / 'pipe')!r}).read())\n"
        "sys.exit(c.main(['scan', 'x']))"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 30
    while running.poll() is None and time.monotonic() < deadline:
        running.send_signal(signal.SIGINT)
        try:
            running.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    _, err = running.communicate()
    assert running.returncode == 130
    assert b"Traceback" not in err


def test_a_reader_that_goes_away_is_no_traceback(safe):
    command = f"{sys.executable} -m nbguard scan {safe} --format json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_modules_beside_the_model_are_not_imported(safe, marker):
    for name in ("json", "argparse", "tomllib", "platformdirs", "fickling", "hashlib"):
        (safe.parent / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')")
    done = subprocess.run(
        [sys.executable, "-m", "nbguard", "scan", "safe.pkl", "--format", "json"],
        cwd=safe.parent,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not marker.exists()


def test_starting_imports_nothing_heavy():
    heavy = [
        "torch",
        "transformers",
        "fickling",
        "sqlalchemy",
        "pandas",
        "joblib",
        "numpy",
        "rich",
        "ipywidgets",
        "huggingface_hub",
        "IPython",
    ]
    code = (
        "import sys, nbguard.cli\n"
        "try: nbguard.cli.main(['--version'])\n"
        "except SystemExit: pass\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Repositories


def test_a_repository_is_scanned_approved_and_covers_part_of_it(hub, capsys):
    from loopback_hub import offer

    from nbguard.artifact.checkpoints import Selection
    from nbguard.artifact.hub import open_repo
    from nbguard.commands.actions import scan_opened

    commit = offer(hub.store, "demo/tiny-custom")
    assert cli.main(["scan", "demo/tiny-custom", "--format", "json"]) == 0
    (report,) = document(capsys)["reports"]
    assert (report["verdict"], report["artifact"]["commit"]) == ("review", commit)
    assert cli.main(["scan", "demo/tiny-custom", "--revision", "no-such-branch"]) == 2
    assert cli.main(["approve", f"hf://demo/tiny-custom@{commit}"]) == 0
    with open_repo("demo/tiny-custom", selection=Selection(weights=False)) as opened:
        part = scan_opened(opened, "demo/tiny-custom")
        assert len(part.files) < len(report["files"])
        assert Store().find(part, opened) is not None
