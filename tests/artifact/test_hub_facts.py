"""What a Hub says beside the files: by the real client, in few requests, in bounds, and never needed."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from loopback_hub import Hub
from loopback_hub.faults import misbehaving, requests

from nbguard.artifact import hub_facts
from nbguard.artifact.hub import list_repo, open_repo
from nbguard.artifact.hub_facts import HubSaid
from nbguard.artifact.hub_listing import Listing
from nbguard.artifact.remote_repo import open_remote

FILES = {"config.json": b"{}", "model.safetensors": b"\x02\0\0\0\0\0\0\0{}"}
UNSAFE = {"scansDone": True, "filesWithIssues": [{"path": "model.safetensors", "level": "unsafe"}]}
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    hub_facts.forget()
    yield
    hub_facts.forget()


@pytest.fixture
def owner(hub: Hub) -> str:
    """An owner that nobody has asked about."""
    return f"owner{next(_numbers)}"


def said(listing: Listing) -> HubSaid:
    assert listing.hub is not None
    return listing.hub


def test_one_request_lists_the_files_and_what_the_hub_says(hub: Hub, owner: str) -> None:
    hub.store.push(f"{owner}/m", FILES, info={"downloads": 7, "securityRepoStatus": UNSAFE})
    with requests(hub.store) as seen:
        listing = list_repo(f"{owner}/m")
    assert [s["path"] for s in seen()] == [f"/api/models/{owner}/m"]
    assert said(listing).info.downloads == 7
    assert said(listing).info.security_repo_status == UNSAFE
    assert listing.sizes == {name: len(data) for name, data in FILES.items()}


def test_an_organisation_costs_one_request_and_a_person_two(hub: Hub, owner: str) -> None:
    hub.store.describe_owner(owner, isVerified=True)
    hub.store.describe_owner(f"{owner}-ada", "user", fullname="Ada")
    for name in (owner, f"{owner}-ada"):
        hub.store.push(f"{name}/m", FILES)
    with requests(hub.store) as seen:
        organisation = said(list_repo(f"{owner}/m")).overview()
        person = said(list_repo(f"{owner}-ada/m")).overview()
    assert (organisation["isVerified"], organisation["name"]) == (True, owner)
    assert (person["fullname"], person["username"]) == ("Ada", f"{owner}-ada")
    assert sum("/overview" in s["path"] for s in seen()) == 3


def test_an_owner_is_asked_about_once_in_a_while(hub: Hub, owner: str) -> None:
    for name in ("m", "n"):
        hub.store.push(f"{owner}/{name}", FILES)
    with requests(hub.store) as seen:
        for name in ("m", "n", "m"):
            assert said(list_repo(f"{owner}/{name}")).overview()["name"] == owner
    assert sum("/overview" in s["path"] for s in seen()) == 1


def test_what_cannot_be_had_is_not_asked_for_again_at_once(
    hub: Hub, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.store.push(f"{owner}/m", FILES)
    with misbehaving(hub.store, f"{owner}/overview", "status", status=500), requests(hub.store) as seen:
        assert said(list_repo(f"{owner}/m")).overview() is None
        assert said(list_repo(f"{owner}/m")).overview() is None
        assert sum("/overview" in s["path"] for s in seen()) == 1
    monkeypatch.setattr(hub_facts, "KEPT_FAILURE", 0.0)
    assert said(list_repo(f"{owner}/m")).overview() is not None


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("status", {"status": 404}),
        ("status", {"status": 403}),
        ("status", {"status": 500}),
        ("text", {"text": "no JSON {", "copies": 1}),
        ("text", {"text": "[" * 1000, "copies": 50}),
        ("text", {"text": '["x"]', "copies": 1}),
        ("text", {"text": '{"name": 7}', "copies": 1}),
        ("text", {"text": '{"name": "meta-llama", "isVerified": true}', "copies": 1}),
        ("text", {"text": " " * 1000, "copies": 8000}),
        ("slow", {"pause": 0.05}),
    ],
)
def test_an_overview_that_is_none_is_not_said(
    hub: Hub, owner: str, kind: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_facts, "SECONDS", 0.6)
    hub.store.push(f"{owner}/m", FILES)
    with misbehaving(hub.store, f"{owner}/overview", kind, **more):
        hub_said = said(list_repo(f"{owner}/m"))
        started = time.monotonic()
        assert hub_said.overview() is None
        assert time.monotonic() - started < 5
        assert hub_said.nbytes <= hub_facts.LONGEST + (64 << 10)


def test_nothing_is_asked_offline(hub: Hub, owner: str) -> None:
    hub.store.push(f"{owner}/m", FILES)
    open_repo(f"{owner}/m").close()
    with requests(hub.store) as seen, open_repo(f"{owner}/m", offline=True) as opened:
        assert opened.hub is None
    assert seen() == []


def test_files_are_asked_about_only_where_something_was_found(hub: Hub, owner: str) -> None:
    status = {"status": "unsafe", "pickleImportScan": {"status": "unsafe"}}
    hub.store.push(f"{owner}/good", FILES)
    hub.store.push(
        f"{owner}/bad",
        FILES,
        info={"securityRepoStatus": UNSAFE, "files": {"model.safetensors": {"securityFileStatus": status}}},
    )
    with requests(hub.store) as seen:
        assert said(list_repo(f"{owner}/good")).files() == ()
        (file,) = said(list_repo(f"{owner}/bad")).files()
    assert (file["path"], file["securityFileStatus"]) == ("model.safetensors", status)
    assert sum(s["method"] == "POST" for s in seen()) == 1


def test_the_history_is_read_to_its_first_commit_or_left(hub: Hub, owner: str) -> None:
    first = hub.store.push(f"{owner}/m", {"a.json": b"0"})
    for number in range(1, 60):
        last = hub.store.push(f"{owner}/m", {"a.json": b"%d" % number})
    history = said(list_repo(f"{owner}/m")).history(last)
    assert (history.root, len(history.commits), history.commits[0]) == (first, 60, last)


def test_a_long_history_has_no_known_beginning(hub: Hub, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_facts, "MOST_PAGES", 1)
    for number in range(55):
        last = hub.store.push(f"{owner}/m", {"a.json": b"%d" % number})
    history = said(list_repo(f"{owner}/m")).history(last)
    assert (history.root, len(history.commits)) == ("", 50)


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/x?p=1", "https://evil.example/api?p=1", "http://[::1", "/other"])
def test_pages_lead_nowhere_else(where: str) -> None:
    from huggingface_hub import constants

    with pytest.raises(ValueError, match=r"another place|Invalid"):
        hub_facts._same_place(f"{constants.ENDPOINT}/api/models/a/b/commits/main", where)


def test_a_repository_that_was_renamed_is_opened_by_either_way(hub: Hub, owner: str) -> None:
    commit = hub.store.push(f"{owner}/old", FILES)
    hub.store.rename(f"{owner}/old", f"{owner}-new/name")
    listing = list_repo(f"{owner}/old")
    assert (listing.repo_id, said(listing).repo_id, listing.commit) == (f"{owner}/old", f"{owner}-new/name", commit)
    with open_remote(f"{owner}/old") as opened:
        assert opened.file("config.json").read() == b"{}"  # type: ignore[union-attr]
    with open_repo(f"{owner}/old") as opened:
        assert {f.path for f in opened.files} == set(FILES)


def test_a_name_that_is_none_is_not_asked_about(hub: Hub, owner: str) -> None:
    hub.store.push(f"{owner}/m", FILES, info={"id": "../../etc/passwd", "author": "x\n"})
    hub_said = said(list_repo(f"{owner}/m"))
    assert (hub_said.repo_id, hub_said.owner) == (f"{owner}/m", owner)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_asks_for_itself(hub: Hub, owner: str) -> None:
    hub.store.push(f"{owner}/m", FILES)
    before, _ = hub_facts._owner_of(owner, None)
    before.done.wait(5)
    before.pid = -1
    after, fresh = hub_facts._owner_of(owner, None)
    assert fresh
    assert after is not before
