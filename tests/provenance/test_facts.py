"""What a Hub says of a repository and its owner: read in bounds, told in sentences, and never trusted alone."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.provenance.facts import HubFacts, ago, facts_from_model_info, findings, rows
from nbguard.provenance.reuse import Accepted, reused
from nbguard.report.model import Severity

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)

INFO: dict[str, Any] = {
    "_id": "66a", "id": "org/name", "modelId": "org/name", "author": "org", "sha": "a" * 40, "private": False,
    "gated": "manual", "disabled": False, "downloads": 120_000, "likes": 45, "library_name": "transformers",
    "createdAt": "2024-05-20T10:00:00.000Z", "lastModified": "2026-01-02T00:00:00.000Z",
    "tags": ["transformers", "license:mit", *(f"tag{n}" for n in range(50))],
    "siblings": [{"rfilename": "model.bin", "size": 4}], "cardData": {"license": "apache-2.0"},
    "securityRepoStatus": {"scansDone": True, "filesWithIssues": []},
}  # fmt: skip
ORGANISATION = {"name": "org", "fullname": "The Organisation", "isVerified": True, "numFollowers": 9, "numModels": 3}
UNSAFE = {
    "type": "file", "path": "model.bin", "size": 4, "oid": "b" * 40,
    "securityFileStatus": {
        "status": "unsafe", "avScan": {"status": "safe", "virusFound": False},
        "pickleImportScan": {"status": "unsafe", "pickleImports": [
            {"module": "posix", "name": "system", "safety": "dangerous"},
            {"module": "collections", "name": "OrderedDict", "safety": "innocuous"},
        ]},
    },
}  # fmt: skip


def said(facts: HubFacts) -> dict[str, Severity]:
    return {finding.message: finding.severity for finding in findings(facts, NOW)}


def test_the_client_s_objects_and_their_json_say_the_same() -> None:
    from huggingface_hub.hf_api import ModelInfo, Organization, RepoFile

    plain = facts_from_model_info(INFO, ORGANISATION, requested="org/name", files=[UNSAFE])
    files = [RepoFile(**{key: value for key, value in UNSAFE.items() if key != "type"})]
    made = facts_from_model_info(ModelInfo(**INFO), Organization(**ORGANISATION), requested="org/name", files=files)
    assert made == plain
    assert (made.repo_key, made.owner, made.owner_kind, made.owner_verified) == ("66a", "org", "organisation", True)
    assert (made.downloads, made.likes, made.gated, made.licence) == (120_000, 45, "manual", "apache-2.0")
    assert made.created == datetime(2024, 5, 20, 10, tzinfo=UTC)
    assert len(made.tags) == 10
    assert made.files[0].imports == ("posix.system (dangerous)",)


def test_a_person_is_no_organisation() -> None:
    from huggingface_hub.hf_api import User

    facts = facts_from_model_info(INFO, User(user="ada", fullname="Ada", createdAt="2026-05-18T00:00:00Z"))
    assert (facts.owner_kind, facts.owner_name, facts.owner_verified) == ("person", "Ada", None)
    assert said(facts) == {"The publisher's account was created 2 days ago.": Severity.LOW}


def test_nothing_is_said_of_what_a_hub_did_not_say() -> None:
    facts = facts_from_model_info({}, None)
    assert facts == HubFacts()
    assert (findings(facts, NOW), rows(facts, NOW), reused(facts, None)) == ([], {}, [])


def test_a_good_repository_has_rows_and_no_finding() -> None:
    facts = facts_from_model_info(INFO, ORGANISATION)
    assert findings(facts, NOW) == []
    assert rows(facts, NOW) == {
        "owner": "verified organisation: “The Organisation”", "created": "2024-05-20 (2 years ago)",
        "last change": "2026-01-02 (4 months ago)", "downloads in 30 days": "120,000", "likes": "45",
        "library": "transformers", "licence": "apache-2.0", "gated": "the publisher lets people in",
        "the Hub's scanners": "nothing found (not relied on)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "overview", "message", "severity"),
    [
        ({"createdAt": "2026-05-17T10:00:00Z"}, None, "The repository was created 3 days ago.", Severity.LOW),
        ({"createdAt": "2026-05-20T10:00:00Z"}, None, "The repository was created today.", Severity.LOW),
        ({"downloads": 0}, None, "It was downloaded not at all in the last 30 days.", Severity.INFO),
        ({"downloads": 1}, None, "It was downloaded once in the last 30 days.", Severity.INFO),
        ({"downloads": 1000}, None, "It was downloaded 1,000 times in the last 30 days.", Severity.INFO),
        ({"disabled": True}, None, "The Hub has disabled this repository.", Severity.HIGH),
        ({}, ORGANISATION | {"isVerified": False}, "The Hub has not verified this organisation.", Severity.INFO),
        (
            {"securityRepoStatus": {"scansDone": False, "filesWithIssues": []}}, None,
            "The Hub has not scanned all files of this repository yet.", Severity.INFO,
        ),
        (
            {"securityRepoStatus": {"scansDone": True, "filesWithIssues": [{"path": "a.pkl", "level": "unsafe"}]}},
            None, "The Hub's scanner says unsafe of a.pkl.", Severity.HIGH,
        ),
        (
            {"securityRepoStatus": {"filesWithIssues": [{"path": "a.pkl", "level": "suspicious"}, {"path": "b"}]}},
            None, "The Hub's scanner says suspicious of a.pkl and 1 more.", Severity.MEDIUM,
        ),
    ],
)  # fmt: skip
def test_each_doubt_is_one_sentence(
    change: dict[str, Any], overview: dict[str, Any] | None, message: str, severity: Severity
) -> None:
    assert said(facts_from_model_info(INFO | change, overview)) == {message: severity}


def test_what_the_hub_says_of_a_file_is_shown_with_what_it_saw() -> None:
    (finding,) = findings(facts_from_model_info(INFO, files=[UNSAFE]), NOW)
    assert finding.message == "The Hub's scanner says unsafe of model.bin."
    assert "posix.system (dangerous)" in finding.evidence


@pytest.mark.parametrize(
    "status",
    [
        {"status": "safe", "avScan": {"status": "safe", "virusFound": True}},
        {"status": "safe", "avScan": {"status": "infected"}},
        {"status": "queued", "jFrogScan": {"status": "unsafe"}},
        {"status": "safe", "pickleImportScan": {"status": "unsafe"}},
    ],
)
def test_one_scanner_that_objects_is_enough(status: dict[str, Any]) -> None:
    facts = facts_from_model_info(INFO, files=[{"path": "x.bin", "securityFileStatus": status}])
    assert facts.bad_files == (("x.bin", "unsafe"),)


def test_what_no_scanner_has_looked_at_is_neither_good_nor_bad() -> None:
    facts = facts_from_model_info({}, files=[{"path": "x", "securityFileStatus": {"status": "queued"}}])
    assert (facts.bad_files, facts.files[0].worst) == ((), "queued")


# --- a name that changed hands ---------------------------------------------------------------------------------------

THEN = datetime(2025, 1, 1, tzinfo=UTC)
FACTS = facts_from_model_info(INFO, ORGANISATION | {"_id": "own"}, requested="org/name")
WAS = Accepted.of(FACTS, THEN, root_commit="r" * 40)


def test_the_same_repository_later_is_the_same() -> None:
    assert reused(FACTS, WAS, root_commit="r" * 40, history=["c" * 40, "a" * 40]) == []
    assert reused(FACTS, Accepted("org/name", THEN)) == []


@pytest.mark.parametrize(
    ("change", "overview", "rule"),
    [
        ({"createdAt": "2025-06-01T00:00:00Z"}, {}, "publisher.recreated"),
        ({"_id": "77b"}, {}, "publisher.other-repository"),
        ({"author": "eve"}, {}, "publisher.owner-changed"),
        ({}, {"_id": "other"}, "publisher.owner-changed"),
        ({}, {"createdAt": "2025-06-01T00:00:00Z"}, "publisher.new-owner-account"),
        ({"id": "eve/name"}, {}, "publisher.moved"),
    ],
)
def test_a_name_that_changed_hands_is_told(change: dict[str, Any], overview: dict[str, Any], rule: str) -> None:
    owner = ORGANISATION | {"_id": "own"} | overview
    (finding,) = reused(facts_from_model_info(INFO | change, owner, requested="org/name"), WAS)
    assert (finding.rule, finding.severity) == (rule, Severity.HIGH)
    assert finding.file == "org/name"


def test_the_owner_that_changed_is_said_in_plain_words() -> None:
    (finding,) = reused(facts_from_model_info(INFO | {"author": "eve"}), WAS)
    assert finding.message == "The owner of this name changed since you accepted it."
    assert "then: org own\nnow: eve" in finding.evidence


def test_a_history_with_another_beginning_is_told() -> None:
    (finding,) = reused(FACTS, WAS, root_commit="e" * 40)
    assert finding.rule == "publisher.unknown-root"
    (finding,) = reused(FACTS, WAS, root_commit="r" * 40, history=["f" * 40])
    assert (finding.rule, finding.severity) == ("publisher.commit-gone", Severity.MEDIUM)


@pytest.mark.parametrize(
    ("asked", "answered", "severity"),
    [
        ("org/old", "org/name", Severity.MEDIUM),
        ("old/name", "org/name", Severity.HIGH),
        ("gpt2", "openai-community/gpt2", Severity.INFO),
    ],
)
def test_a_redirect_is_told_to_whoever_never_accepted_anything(asked: str, answered: str, severity: Severity) -> None:
    (finding,) = reused(facts_from_model_info({"id": answered}, requested=asked), None)
    assert (finding.rule, finding.severity) == ("publisher.moved", severity)
    assert reused(facts_from_model_info({"id": "Org/Name"}, requested="org/name"), None) == []


def test_clocks_that_differ_a_little_accuse_nobody() -> None:
    created = INFO | {"createdAt": (THEN + timedelta(minutes=5)).isoformat()}
    now = facts_from_model_info(created, ORGANISATION | {"_id": "own"})
    assert reused(now, dataclasses.replace(WAS, created=None)) == []
    assert [f.rule for f in reused(now, WAS)] == ["publisher.recreated"], "both times are the Hub's own"


# --- hostile answers -------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("2026-05-17T10:00:00Z"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_KEYS = sorted({*INFO, *ORGANISATION, "path", "securityFileStatus", "user", "securityRepoStatus", "cardData"})
_ANSWER = st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=len(_KEYS)) | _JSON


@settings(max_examples=150, deadline=None)
@given(_ANSWER, _ANSWER, st.lists(_ANSWER, max_size=3))
def test_whatever_a_server_answers_is_read_or_left_out(info: Any, overview: Any, files: list[Any]) -> None:
    facts = facts_from_model_info(info, overview, files=files)
    findings(facts, NOW)
    reused(facts, WAS)
    assert all(isinstance(value, str) for value in rows(facts, NOW).values())


def test_long_answers_are_cut() -> None:
    facts = facts_from_model_info(
        {"id": "x" * 10**6, "tags": ["t" * 10**6] * 10**4, "downloads": 10**400, "createdAt": "9" * 10**6,
         "securityRepoStatus": {"filesWithIssues": [{"path": "p" * 10**5, "level": "unsafe"}] * 20_000}},
        {"fullname": "n" * 10**6},
        files=({"path": f"{n}", "securityFileStatus": {"status": "unsafe"}} for n in range(20_000)),
    )  # fmt: skip
    assert (len(facts.repo_id), len(facts.owner_name), facts.downloads, facts.created) == (200, 200, None, None)
    assert len(facts.files) == len(facts.issues) == 10_000
    assert all(len(f.message) < 400 and len(f.evidence) <= 2_000 for f in findings(facts, NOW))


def test_time_is_told_as_people_do() -> None:
    days = {0: "today", 1: "1 day ago", 59: "59 days ago", 60: "2 months ago", 729: "24 months ago", 800: "2 years ago"}
    assert {n: ago(NOW - timedelta(days=n), NOW) for n in days} == days
    assert ago(NOW + timedelta(days=2), NOW) == "in the future"


def test_the_facts_need_no_client() -> None:
    code = "import sys, nbguard.provenance.facts, nbguard.provenance.reuse\nprint('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
