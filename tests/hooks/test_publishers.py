"""The question about a repository says what the Hub says of it, and whether its name is still whose it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_tools import someone
from loopback_hub import Hub
from loopback_hub.faults import misbehaving, requests
from transformers_tools import Person, fresh

from nbguard.artifact import hub_facts
from nbguard.errors import LoadBlocked
from nbguard.hooks import walk
from nbguard.report.model import Report, Verdict

transformers = pytest.importorskip("transformers")

UNSAFE = {"scansDone": True, "filesWithIssues": [{"path": "model.safetensors", "level": "unsafe"}]}
_lines = itertools.count(1)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Person]:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    hub_facts.forget()
    yield from someone(monkeypatch)
    hub_facts.forget()


def load(name: str, **arguments: Any) -> Any:
    """From a line of its own: what is loaded again at one line is no question any more."""
    source = "\n" * next(_lines) + "def load(what, name, arguments): return what.from_pretrained(name, **arguments)"
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), cell)
    return cell["load"](transformers.AutoModel, name, arguments)


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings if f.rule.startswith("publisher.")}


def test_the_question_shows_who_published_it(hub: Hub, person: Person) -> None:
    name = fresh(hub, "demo/tiny-bert")
    load(name)
    (report,) = person.asked
    assert report.verdict is Verdict.SAFE
    assert report.provenance["owner"] == "organisation, not verified: “demo”"
    assert rules(report) == set()


def test_a_repository_made_anew_under_an_accepted_name_is_in_the_question(hub: Hub, person: Person) -> None:
    name = fresh(hub, "demo/tiny-bert")
    load(name)
    files = {
        path.relative_to(place).as_posix(): path.read_bytes()
        for place in (hub.store.root / name / "commits").iterdir()
        for path in place.rglob("*")
        if path.is_file()
    }
    hub.store.delete(name)
    hub.store.push(name, {**files, "README.md": b"other", "config.json": files["config.json"] + b"\n"},
                   info={"createdAt": "2126-01-01T00:00:00.000Z", "_id": "another"})  # fmt: skip
    load(name)
    assert person.asked[-1].verdict is Verdict.REVIEW
    assert {"publisher.recreated", "publisher.other-repository"} <= rules(person.asked[-1])
    person.choice = "refuse"
    hub.store.push(name, {**files, "config.json": files["config.json"] + b"\n\n"})
    with pytest.raises(LoadBlocked):
        load(name)
    assert rules(person.asked[-1]) == set(), "what was accepted last is what is compared with"


def test_what_the_hub_calls_unsafe_is_no_safe_load(hub: Hub, person: Person) -> None:
    name = fresh(hub, "demo/tiny-bert")
    hub.store.describe(name, securityRepoStatus=UNSAFE)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked, match=r"The Hub's scanner says unsafe of model\.safetensors"):
        load(name)
    assert person.asked[0].verdict is Verdict.REVIEW


def test_nobody_there_loads_what_is_only_new(hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    decided: list[str] = []
    honest = walk._decide
    monkeypatch.setattr(
        walk, "_decide", lambda *a, **k: [d := honest(*a, **k), decided.append(f"{d.action} {d.rules}")][0]
    )
    for created in ("2020-01-01T00:00:00.000Z", f"{_today()}T00:00:00.000Z"):
        name = fresh(hub, "demo/tiny-bert")
        hub.store.describe(name, createdAt=created)
        try:
            load(name)
        except LoadBlocked as error:
            decided.append(str(error).partition("\n")[0])
    half = len(decided) // 2
    assert decided[:half] == decided[half:]
    assert half


def _today() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_an_approval_holds_while_the_hub_says_more_or_less(hub: Hub, person: Person) -> None:
    name = fresh(hub, "demo/tiny-bert")
    person.choice = "always"
    with misbehaving(hub.store, "demo/overview", "status", status=500):
        load(name)
    assert len(person.asked) == 1
    hub_facts.forget()
    hub.store.describe(name, createdAt=f"{_today()}T00:00:00.000Z", _id="another")
    load(name)
    assert len(person.asked) == 1


def test_an_owner_is_asked_about_once_for_many_loads(hub: Hub, person: Person) -> None:
    names = [fresh(hub, "demo/tiny-bert") for _ in range(2)]
    with requests(hub.store) as seen:
        for name in names:
            load(name)
    assert sum("/overview" in s["path"] for s in seen()) == 1
