"""`nbguard approvals …` and `nbguard audit …`, as typed, and the same under `%safemodel`."""

from __future__ import annotations

import collections
import csv
import json
import pickle
from pathlib import Path

import pytest

from nbguard import cli
from nbguard.approvals import AuditLog, Store, signing
from nbguard.commands import record_options


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(signing, "SITE_KEYS", tmp_path / "site_keys")


@pytest.fixture
def approved(tmp_path: Path) -> Path:
    """A model that was approved, by its path."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(collections.deque([1])))
    assert cli.main(["approve", str(path), "--reason", "our own trainer"]) == 0
    return path


def run(*words: object) -> int:
    return cli.main([str(word) for word in words])


def listed(capsys, *words: object) -> list[dict]:
    capsys.readouterr()
    assert run("approvals", *words, "--format", "json") == 0
    return json.loads(capsys.readouterr().out)["approvals"]


def events() -> list[str]:
    return [entry["event"] for entry in AuditLog().entries()]


def test_the_parsers_know_the_words_of_filters_and_policies():
    from nbguard.approvals.filters import STATES
    from nbguard.policy.model import VERDICTS

    assert (record_options.STATES, record_options.VERDICTS) == (STATES, VERDICTS)


def test_listing_by_filter(approved, capsys):
    (found,) = listed(capsys)
    assert found["reason"] == "our own trainer"
    assert listed(capsys, "--target", "*.pkl", "--verdict", "safe", "--newer-than", "1h") == [found]
    assert listed(capsys, "list", "--text", "TRAINER") == [found]
    for none in (
        ("--target", "other"),
        ("--verdict", "danger"),
        ("--older-than", "1h"),
        ("--expired",),
        ("--origin", "bundle"),
    ):
        assert listed(capsys, *none) == []
    assert run("approvals", "--who", "nobody") == 0
    assert "No approval is like that." in capsys.readouterr().out
    assert run("approvals", "--older-than", "soon") == 2


def test_ending_sooner_revoking_with_a_reason_and_pruning(approved, capsys):
    assert run("approvals", "expire", approved, "--at", "never") == 2
    assert run("approvals", "expire", "nothing", "--at", "now") == 2
    assert run("approvals", "expire", approved, "--at", "7d") == 0
    assert run("approvals", "expire", approved, "--at", "30d") == 2
    assert "sooner" in capsys.readouterr().err
    assert listed(capsys)[0]["expires"] is not None
    assert run("revoke", approved, "--reason", "superseded") == 0
    assert listed(capsys) == []
    (gone,) = listed(capsys, "--revoked")
    assert gone["revoked_reason"] == "superseded"
    assert run("approvals", "--all") == 0
    assert "superseded" in capsys.readouterr().out
    assert run("approvals", "show", gone["id"]) == 0
    assert "superseded" in capsys.readouterr().out
    assert run("approvals", "prune", "--older-than", "0m", "--dry-run") == 0
    assert len(listed(capsys, "--all")) == 1
    assert run("approvals", "prune") == 0
    assert len(listed(capsys, "--all")) == 1
    assert run("approvals", "prune", "--older-than", "0m") == 0
    assert listed(capsys, "--all") == []
    assert events() == ["approval.given", "approval.expires", "approval.revoked", "approval.pruned"]


def test_an_approval_that_expired_by_command_asks_again(approved):
    assert run("approvals", "expire", approved, "--at", "now") == 0
    assert Store().list() == ()


def test_a_policy_asks_for_reasons_and_bounds_how_long(approved, tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.toml"
    config.write_text("[approvals]\ndays = 10\nreasons = true\n")
    monkeypatch.setenv("NBGUARD_CONFIG", str(config))
    assert run("approve", approved) == 2
    assert "reason" in capsys.readouterr().err
    assert run("approve", approved, "--reason", "x", "--expires", "never") == 2
    assert "10 days" in capsys.readouterr().err
    assert run("approve", approved, "--reason", "x") == 0
    assert listed(capsys)[0]["expires"] is not None


def test_from_one_machine_to_another(approved, tmp_path, monkeypatch, capsys):
    file = tmp_path / "site.nbguard"
    assert run("approvals", "export", file) == 2
    assert "keys new" in capsys.readouterr().err
    assert run("approvals", "keys", "new", "platform") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert run("approvals", "export", file, "--target", "nothing") == 2
    assert run("approvals", "export", file, "--expires", "never") == 2
    assert run("approvals", "export", file, "--expires", "7d") == 0
    assert run("approvals", "export", file) == 2  # nothing is overwritten
    assert {"key.made", "bundle.exported"} <= set(events())

    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "other"))
    capsys.readouterr()
    assert run("approvals", "import", file) == 2
    assert "not trusted" in capsys.readouterr().err
    (tmp_path / "platform.pub").write_text(line + "\n")
    assert run("approvals", "keys", "trust", tmp_path / "platform.pub") == 0
    assert run("approvals", "import", file, "--dry-run") == 0
    assert "Would import 1 of 1" in capsys.readouterr().out
    assert Store().list() == ()
    assert run("approvals", "import", file, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["approvals"][0]["outcome"] == "new"
    assert document["signer"]["name"] == "platform"
    (here,) = listed(capsys, "--origin", "platform")
    assert here["origin"]["bundle"] == document["bundle"]["id"]
    assert run("approvals") == 0
    assert "from a bundle that platform signed" in capsys.readouterr().out
    assert run("approvals", "import", file) == 2
    assert events() == ["key.trusted", "bundle.imported", "approval.imported"]
    assert run("approvals", "keys") == 0
    assert "trusted by you" in capsys.readouterr().out
    assert run("approvals", "keys", "forget", "platform") == 0
    assert len(listed(capsys)) == 1


def test_danger_is_taken_only_on_purpose_and_never_against_the_policy(tmp_path, monkeypatch, capsys):
    class Evil:
        def __reduce__(self):
            return (eval, ("1+1",))

    bad = tmp_path / "bad.pkl"
    bad.write_bytes(pickle.dumps(Evil()))
    assert run("approve", bad, "--i-accept-danger", "--reason", "a test of ours") == 0
    assert run("approvals", "keys", "new", "k") == 0
    line = capsys.readouterr().out.splitlines()[-2]
    assert run("approvals", "export", tmp_path / "b") == 0
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "other"))
    assert run("approvals", "keys", "trust", line) == 0
    assert run("approvals", "import", tmp_path / "b", "--dry-run") == 0
    assert "--i-accept-danger" in capsys.readouterr().out
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    assert run("approvals", "import", tmp_path / "b", "--dry-run", "--i-accept-danger") == 0
    assert "left out" in capsys.readouterr().out
    monkeypatch.setenv("NBGUARD_POLICY", "balanced")
    assert run("approvals", "import", tmp_path / "b", "--i-accept-danger") == 0
    assert [a.verdict.word for a in Store().list()] == ["danger"]


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 50])
def test_what_is_no_bundle_is_one_sentence(tmp_path, capsys, data):
    (tmp_path / "b").write_bytes(data)
    assert run("approvals", "import", tmp_path / "b") == 2
    assert "not a signed bundle" in capsys.readouterr().err
    assert run("approvals", "import", tmp_path / "gone") == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_audit_log_by_filter(approved, capsys):
    run("revoke", approved, "--reason", "superseded")
    capsys.readouterr()
    assert run("audit", "--event", "approval.rev*", "--format", "json") == 0
    assert [e["reason"] for e in json.loads(capsys.readouterr().out)["entries"]] == ["superseded"]
    assert run("audit", "list", "--since", "1h", "-n", "1") == 0
    assert "approval.revoked" in capsys.readouterr().out
    assert run("audit", "--until", "2020-01-01") == 0
    assert "No entry is like that." in capsys.readouterr().out
    assert run("audit", "--since", "yesterday") == 2
    assert run("audit", "-n", "-1") == 2


def test_a_copy_of_the_audit_log(approved, tmp_path, capsys):
    copy, table = tmp_path / "copy.jsonl", tmp_path / "table.csv"
    AuditLog().record("load.refused", target="=cmd|' /C calc'!A0", verdict="danger")
    assert run("audit", "export", copy) == 0
    assert run("audit", "verify", copy) == 0
    assert "2 entries" in capsys.readouterr().out
    assert run("audit", "export", copy) == 2
    assert run("audit", "export", table, "--format", "csv", "--verdict", "danger") == 0
    (row,) = csv.DictReader(table.open(newline=""))
    assert row["target"].startswith("'=")
    copy.write_bytes(copy.read_bytes().replace(b"approval.given", b"approval.taken"))
    assert run("audit", "verify", copy, "--format", "json") == 1
    assert run("audit", "verify") == 0
    assert run("audit", "verify", tmp_path / "gone") == 2


def test_deleting_old_segments(approved, capsys, monkeypatch):
    from nbguard.approvals.audit import Keeping

    log = AuditLog(keeping=Keeping(segment_bytes=500))
    for _ in range(6):
        log.record("load.allowed")
    assert run("audit", "prune") == 2
    assert run("audit", "prune", "--keep-days", "1") == 0
    capsys.readouterr()
    assert run("audit", "prune", "--keep-segments", "0", "--dry-run") == 0
    assert "Would delete" in capsys.readouterr().out
    assert run("audit", "prune", "--keep-segments", "0") == 0
    assert run("audit", "verify") == 0
    assert "deleted on purpose" in capsys.readouterr().out


@pytest.mark.parametrize("magic", ["approvals --all", "approvals show MODEL", "audit -n 3", "audit verify"])
def test_the_same_in_a_notebook(approved, capsys, magic):
    from IPython.testing.globalipapp import get_ipython, start_ipython

    shell = start_ipython() or get_ipython()
    shell.run_line_magic("load_ext", "nbguard")
    try:
        capsys.readouterr()
        shell.run_line_magic("safemodel", magic.replace("MODEL", str(approved)))
        said = capsys.readouterr().out
        assert any(words in said for words in ("model.pkl", "approval.given", "in order"))
    finally:
        shell.run_line_magic("unload_ext", "nbguard")


def test_a_wrong_word_in_a_notebook_is_one_sentence(capsys):
    from IPython.core.error import UsageError

    from nbguard.magics import _records

    with pytest.raises(UsageError, match="--help"):
        _records(["approvals", "--nonsense"])
    _records(["audit", "--help"])
    assert "verify" in capsys.readouterr().out
