"""What the Hub says stands in every report about a repository, makes it worse where it should, and none better."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub
from loopback_hub.faults import misbehaving, requests

import nbguard
from nbguard.approvals import versions
from nbguard.artifact import hub_facts
from nbguard.cli import main
from nbguard.commands import actions
from nbguard.provenance.reuse import Accepted
from nbguard.report import html, text
from nbguard.report.model import Report, Severity, Verdict

FILES = {"config.json": b"{}", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}
LATER = "2126-01-01T00:00:00.000Z"
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    hub_facts.forget()
    yield
    hub_facts.forget()


def push(hub: Hub, files: dict[str, bytes] = FILES, /, **info: Any) -> str:
    name = f"pub{next(_numbers)}/model"
    hub.store.push(name, files, info=info)
    return name


def unsafe(path: str, level: str = "unsafe") -> dict[str, Any]:
    return {"securityRepoStatus": {"scansDone": True, "filesWithIssues": [{"path": path, "level": level}]}}


def about(report: Report) -> dict[str, Severity]:
    return {f.rule.removeprefix("publisher."): f.severity for f in report.findings if f.rule.startswith("publisher.")}


def test_a_report_says_who_published_it_in_few_lines(hub: Hub) -> None:
    name = push(hub, downloads=120_000, likes=45, gated="manual", cardData={"license": "mit"})
    hub.store.describe_owner(name.split("/")[0], fullname="The Organisation", isVerified=True)
    hub.store.describe(name, gated=False)
    report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {})
    said = text.render(report).partition("Who published it, as the Hub says")[2].partition("Where it came from")[0]
    assert said.strip().splitlines()[:2] == [
        f"publisher: {name.split('/')[0]}", "  owner: verified organisation: “The Organisation”"
    ]  # fmt: skip
    assert "downloads in 30 days: 120,000" in said
    assert "licence: mit" in said
    assert "the Hub's scanners: nothing found (not relied on)" in said
    assert "Who published it" in html.render(report)


def test_the_command_line_and_approvals_say_it_too(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    name = push(hub, **unsafe("model.safetensors"))
    assert main(["scan", f"hf://{name}", "--format", "json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert report["verdict"] == "review"
    assert report["findings"][0]["rule"] == "publisher.hub-scan"
    shown: list[Report] = []
    actions.approve(f"hf://{name}", show=shown.append)
    assert about(shown[0]) == {"hub-scan": Severity.HIGH}


def test_what_the_hub_calls_unsafe_is_for_a_person_to_look_at(hub: Hub) -> None:
    imports = [{"module": "posix", "name": "system", "safety": "dangerous"}]
    status = {"status": "unsafe", "pickleImportScan": {"status": "unsafe", "pickleImports": imports}}
    name = push(hub, **unsafe("model.safetensors"), files={"model.safetensors": {"securityFileStatus": status}})
    report = nbguard.scan(f"hf://{name}")
    assert report.verdict is Verdict.REVIEW
    assert report.summary[0] == "The Hub's scanner says unsafe of model.safetensors."
    assert "posix.system (dangerous)" in report.findings[0].evidence


def test_what_the_hub_calls_unsafe_and_nothing_opens_is_told_only(hub: Hub) -> None:
    report = nbguard.scan(f"hf://{push(hub, {**FILES, 'pytorch_model.bin': b'x'}, **unsafe('pytorch_model.bin'))}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {"hub-scan": Severity.MEDIUM})
    assert "It is not opened here." in report.findings[0].message


def test_what_the_hub_calls_safe_makes_nothing_better(hub: Hub) -> None:
    name = push(hub, {"model.pkl": b"cposix\nsystem\n(X\x04\0\0\0truetR."}, downloads=10**9)
    hub.store.describe_owner(name.split("/")[0], isVerified=True)
    assert nbguard.scan(f"hf://{name}").verdict is Verdict.DANGER


def test_new_and_little_known_is_shown_and_changes_nothing(hub: Hub) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
    name = push(hub, createdAt=now, downloads=0)
    hub.store.describe_owner(name.split("/")[0], "user", fullname="Ada", createdAt=now)
    report = nbguard.scan(f"hf://{name}")
    assert report.verdict is Verdict.SAFE
    assert about(report) == {"new-account": Severity.LOW, "new-repository": Severity.LOW}
    assert report.summary == ("Loading this reads data and runs no code.",)
    assert report.top_severity is Severity.INFO, "an approval does not have to be given again for it"
    assert report.provenance["owner"] == "person: “Ada”"
    assert text.render(report).count("Make sure that this is the publisher you mean.") == 1


@pytest.mark.parametrize(
    ("kind", "more"),
    [("status", {"status": 500}), ("text", {"text": "<", "copies": 9_000_000}), ("slow", {"pause": 0.1})],
)
def test_an_owner_who_is_not_told_changes_nothing(
    hub: Hub, kind: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_facts, "SECONDS", 0.5)
    name = push(hub)
    with misbehaving(hub.store, f"{name.split('/')[0]}/overview", kind, **more):
        report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {})
    assert report.provenance["owner"] == "the Hub does not say who that is"


def test_a_scan_costs_at_most_three_requests_more(hub: Hub) -> None:
    name = push(hub, **unsafe("model.safetensors"))
    hub.store.describe_owner(name.split("/")[0], "user", fullname="Ada")
    with requests(hub.store) as seen:
        report = nbguard.scan(f"hf://{name}")
    assert len(seen()) == 1 + len(FILES) + 3
    assert report.provenance["read"].endswith(f"in {len(seen())} requests")


def test_hostile_words_are_escaped_and_come_after_ours(hub: Hub) -> None:
    loud = "<script>alert(1)</script>\x1b[2J\u202e”: verified organisation\n"
    name = push(hub, library_name=loud, cardData={"license": loud}, **unsafe("model.safetensors", loud))
    hub.store.describe_owner(name.split("/")[0], fullname=loud * 50, isVerified=False)
    report = nbguard.scan(f"hf://{name}")
    shown, page = text.render(report, width=400), html.render(report)
    assert "<script>" not in page
    assert not {"\x1b", "\u202e"} & set(shown + page)
    assert "owner: organisation, not verified: “<script>" in shown
    assert report.provenance["owner"].startswith("organisation, not verified: “")


# --- names that are used again ---------------------------------------------------------------------------------------


def test_a_repository_made_anew_under_an_accepted_name_is_told(hub: Hub) -> None:
    name = push(hub, _id="first")
    actions.approve(f"hf://{name}")
    assert nbguard.scan(f"hf://{name}").verdict is Verdict.SAFE
    hub.store.delete(name)
    hub.store.push(name, {**FILES, "config.json": b'{"a": 1}'}, info={"createdAt": LATER, "_id": "second"})
    report = nbguard.scan(f"hf://{name}")
    assert report.verdict is Verdict.REVIEW
    high = dict.fromkeys(("recreated", "other-repository", "unknown-root"), Severity.HIGH)
    assert about(report) == {**high, "commit-gone": Severity.MEDIUM}
    assert "after you accepted this name" in report.summary[0]
    assert text.render(report).count("A name that was given up can be taken by anybody") == 1
    actions.approve(f"hf://{name}")  # looked at, and accepted as it is now
    assert about(nbguard.scan(f"hf://{name}")) == {}


def test_exactly_what_was_accepted_stays_accepted_whoever_has_the_name(hub: Hub) -> None:
    name = push(hub, _id="first")
    actions.approve(f"hf://{name}")
    hub.store.describe(name, _id="second", createdAt=LATER)
    report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {"recreated": Severity.LOW})
    assert "This exact content is what was accepted" in report.findings[0].remedy
    assert report.top_severity is Severity.INFO


def test_an_update_of_the_same_repository_accuses_nobody(hub: Hub) -> None:
    name = push(hub, _id="first")
    actions.approve(f"hf://{name}")
    hub.store.push(name, {**FILES, "config.json": b'{"a": 1}'})
    report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {})


def test_history_that_was_rewritten_is_told(hub: Hub) -> None:
    name = push(hub)
    hub.store.push(name, {**FILES, "config.json": b'{"a": 1}'})
    actions.approve(f"hf://{name}")
    hub.store.delete(name)
    hub.store.push(name, FILES)
    hub.store.push(name, {**FILES, "config.json": b'{"b": 1}'})
    assert about(nbguard.scan(f"hf://{name}")) == {"commit-gone": Severity.MEDIUM}
    assert about(nbguard.scan(f"hf://{name}", revision=hub.store.refs(name)["main"])) == {}, "no branch to miss it in"


def test_a_repository_that_moved_to_another_owner_is_told(hub: Hub) -> None:
    name = push(hub)
    hub.store.rename(name, f"{name.split('/')[0]}-other/model")
    report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.REVIEW, {"moved": Severity.HIGH})
    name = push(hub)
    hub.store.rename(name, f"{name.split('/')[0]}/renamed")
    report = nbguard.scan(f"hf://{name}")
    assert (report.verdict, about(report)) == (Verdict.SAFE, {"moved": Severity.MEDIUM})


def test_what_is_recorded_reads_back_and_whatever_else_is_left_out() -> None:
    was = Accepted(
        "org/name", datetime(2026, 5, 1, tzinfo=UTC), "c" * 40, owner="org", created=datetime(2024, 1, 1, tzinfo=UTC)
    )
    assert Accepted.of_entry(was.to_entry()) == was
    locked = {"repo": "org/name", "commit": "c" * 40, "owner": 7, "root_commit": "r" * 40}
    found = Accepted.of_entry(locked, datetime(2026, 5, 1, tzinfo=UTC))
    assert found == Accepted("org/name", datetime(2026, 5, 1, tzinfo=UTC), "c" * 40, root_commit="r" * 40)
    assert Accepted.of_entry({"repo": "org/name"}) is None
    assert Accepted.of_entry({"when": "2026-05-01"}) is None
    assert Accepted.of_entry({"repo": "org/name", "when": "yesterday"}) is None


def test_records_from_before_there_was_anything_of_the_hub_still_read(hub: Hub, tmp_path: Path) -> None:
    import sqlite3

    name = push(hub)
    actions.approve(f"hf://{name}")
    with sqlite3.connect(tmp_path / "data" / versions.FILE_NAME) as db:
        db.execute("ALTER TABLE versions DROP COLUMN hub")
        db.execute("PRAGMA user_version = 1")
    report = nbguard.scan(f"hf://{name}")
    assert about(report) == {}
    actions.approve(f"hf://{name}")
    found = versions.hub_before(report)
    assert found is not None
    assert found[0]["owner"] == name.split("/")[0]


def test_letters_that_are_none_go_through_every_face(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    odd = "half \ud83d a letter \0"
    name = push(hub, library_name=odd, cardData={"license": odd}, _id=odd, **unsafe("model.safetensors", odd))
    hub.store.describe_owner(name.split("/")[0], fullname=odd, _id=odd)
    for form in ("text", "html", "json"):
        assert main(["scan", f"hf://{name}", "--format", form]) == 0
    assert capsys.readouterr().err == ""
    actions.approve(f"hf://{name}")
    assert about(nbguard.scan(f"hf://{name}")) == about(nbguard.scan(f"hf://{name}"))


def test_a_branch_with_a_beginning_of_its_own_accuses_nobody(hub: Hub) -> None:
    name = push(hub)
    actions.approve(f"hf://{name}")
    hub.store.push(name, {**FILES, "config.json": b'{"onnx": 1}'}, branch="onnx")
    assert about(nbguard.scan(f"hf://{name}", revision="onnx")) == {}
