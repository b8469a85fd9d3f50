"""The design's decision table, every combination, and what no policy may do."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.approvals.model import Approval
from nbguard.artifact.model import Artifact, ArtifactFile, LoadRequest
from nbguard.policy import Policy, PolicyError, Situation, current, decide, presets
from nbguard.policy.model import SOURCE_KINDS
from nbguard.report.model import FileReport, Finding, Report, Severity, Verdict

SEVERITY = {
    Verdict.SAFE: Severity.INFO,
    Verdict.REVIEW: Severity.MEDIUM,
    Verdict.UNVERIFIABLE: Severity.HIGH,
    Verdict.DANGER: Severity.CRITICAL,
}


def make_report(verdict: Verdict, kind: str = "path") -> Report:
    artifact = Artifact("m", kind, (ArtifactFile("m", 1, "pickle", "sha256:00"),))
    finding = Finding("x", SEVERITY[verdict], "m", "", "message")
    return Report("m", artifact, (FileReport("m", 1, "pickle", verdict),), findings=(finding,))


def make_approval(verdict: Verdict, severity: Severity | None = None) -> Approval:
    severity = SEVERITY[verdict] if severity is None else severity
    return Approval("abcd1234", "a", "c", 0.0, None, "ada", "why", verdict, severity, "m", "1")


def request(in_person_code: bool = True) -> LoadRequest:
    return LoadRequest("torch.load", "m", "path", in_person_code=in_person_code)


S, R, U, D = Verdict.SAFE, Verdict.REVIEW, Verdict.UNVERIFIABLE, Verdict.DANGER

# (policy, verdict, approved before, person there) → (action, form). The whole of the design's table.
TABLE = {
    ("balanced", S, False, True): ("ask", "compact"),
    ("balanced", S, False, False): ("allow", "compact"),
    ("balanced", S, True, True): ("allow", "compact"),
    ("balanced", S, True, False): ("allow", "compact"),
    ("balanced", R, False, True): ("ask", "full"),
    ("balanced", R, False, False): ("deny", "full"),
    ("balanced", R, True, True): ("allow", "compact"),
    ("balanced", R, True, False): ("allow", "compact"),
    ("balanced", U, False, True): ("deny", "blocked"),
    ("balanced", U, False, False): ("deny", "blocked"),
    ("balanced", U, True, True): ("deny", "blocked"),
    ("balanced", U, True, False): ("deny", "blocked"),
    ("balanced", D, False, True): ("ask", "danger"),
    ("balanced", D, False, False): ("deny", "full"),
    ("balanced", D, True, True): ("allow", "compact"),
    ("balanced", D, True, False): ("allow", "compact"),
    ("strict", S, False, True): ("ask", "compact"),
    ("strict", S, False, False): ("deny", "full"),
    ("strict", S, True, True): ("allow", "compact"),
    ("strict", S, True, False): ("allow", "compact"),
    ("strict", R, False, True): ("ask", "full"),
    ("strict", R, False, False): ("deny", "full"),
    ("strict", R, True, True): ("allow", "compact"),
    ("strict", R, True, False): ("allow", "compact"),
    ("strict", U, False, True): ("deny", "blocked"),
    ("strict", U, False, False): ("deny", "blocked"),
    ("strict", U, True, True): ("deny", "blocked"),
    ("strict", U, True, False): ("deny", "blocked"),
    ("strict", D, False, True): ("deny", "blocked"),
    ("strict", D, False, False): ("deny", "blocked"),
    ("strict", D, True, True): ("deny", "blocked"),
    ("strict", D, True, False): ("deny", "blocked"),
    ("research", S, False, True): ("allow", "compact"),
    ("research", S, False, False): ("allow", "compact"),
    ("research", S, True, True): ("allow", "compact"),
    ("research", S, True, False): ("allow", "compact"),
    ("research", R, False, True): ("ask", "full"),
    ("research", R, False, False): ("deny", "full"),
    ("research", R, True, True): ("allow", "compact"),
    ("research", R, True, False): ("allow", "compact"),
    ("research", U, False, True): ("deny", "blocked"),
    ("research", U, False, False): ("deny", "blocked"),
    ("research", U, True, True): ("deny", "blocked"),
    ("research", U, True, False): ("deny", "blocked"),
    ("research", D, False, True): ("ask", "danger"),
    ("research", D, False, False): ("deny", "full"),
    ("research", D, True, True): ("allow", "compact"),
    ("research", D, True, False): ("allow", "compact"),
}


def test_the_table_is_whole():
    assert set(TABLE) == set(itertools.product(presets(), Verdict, (False, True), (False, True)))


@pytest.mark.parametrize(("case", "expected"), TABLE.items(), ids=str)
def test_every_row(case, expected):
    name, verdict, approved, person = case
    situation = Situation(make_approval(verdict) if approved else None, person, request())
    decision = decide(make_report(verdict), presets()[name], situation)
    assert (decision.action, decision.form) == expected
    assert decision.rules[:2] == (f"policy.{name}", f"verdict.{verdict.word}")
    assert decision.enforced
    assert decision.reason.endswith((".", ")."))
    assert (decision.offers != ()) == (decision.action == "ask")
    if decision.action == "ask":
        assert decision.offers[-1] == "refuse"


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("name", ["balanced", "strict", "research"])
def test_a_librarys_own_load_raises_no_question(name, verdict):
    decision = decide(make_report(verdict), presets()[name], Situation(None, True, request(in_person_code=False)))
    assert decision.action == TABLE[name, verdict, False, False][0]


def test_balanced_allows_only_its_sources_unattended():
    limited = dataclasses.replace(presets()["balanced"], sources=("path",))
    for kind in SOURCE_KINDS:
        action = decide(make_report(S, kind), limited, Situation()).action
        assert action == ("allow" if kind == "path" else "deny")
        assert decide(make_report(S, kind), presets()["balanced"], Situation()).action == "allow"


def test_danger_is_not_kept_for_good_with_a_button_under_balanced():
    assert decide(make_report(D), presets()["balanced"], Situation(person=True)).offers == ("once", "refuse")


@pytest.mark.parametrize("name", ["balanced", "research"])
def test_an_approval_of_what_was_judged_better_does_not_count(name):
    for stored in (S, R):
        situation = Situation(make_approval(stored), False, request())
        assert decide(make_report(D), presets()[name], situation).action == "deny"
    worse_finding = Situation(make_approval(R, Severity.LOW), False, request())
    assert decide(make_report(R), presets()[name], worse_finding).action == "deny"


def test_modes_that_do_not_enforce_say_what_enforcement_would_do():
    for mode in ("observe", "warn"):
        decision = decide(make_report(D), presets()["strict"], Situation(mode=mode))
        assert (decision.action, decision.enforced) == ("deny", False)
        assert f"mode.{mode}" in decision.rules


offers = st.lists(st.sampled_from(["once", "always"]), unique=True).map(tuple)
policies = st.builds(
    Policy,
    name=st.text(max_size=5),
    strictness=st.integers(),
    about=st.just(""),
    sources=st.lists(st.sampled_from(SOURCE_KINDS), unique=True).map(tuple),
    safe_person=st.sampled_from(["ask", "allow"]),
    safe_headless=st.sampled_from(["allow", "sources", "refuse"]),
    safe_offers=offers,
    review_person=st.sampled_from(["ask", "refuse"]),
    review_stored=st.booleans(),
    review_offers=offers,
    danger_person=st.sampled_from(["ask", "refuse"]),
    danger_stored=st.booleans(),
    danger_offers=offers,
)
situations = st.builds(
    Situation,
    approved=st.none() | st.builds(make_approval, st.sampled_from(Verdict), st.sampled_from(Severity)),
    person=st.booleans(),
    request=st.none() | st.builds(request, st.booleans()),
    mode=st.sampled_from(["observe", "warn", "enforce"]),
)


@given(policies, situations, st.sampled_from(SOURCE_KINDS))
def test_no_policy_lets_the_unverifiable_load(policy, situation, kind):
    decision = decide(make_report(U, kind), policy, situation)
    assert (decision.action, decision.offers) == ("deny", ())


@given(policies, situations, st.sampled_from(SOURCE_KINDS))
def test_nothing_but_an_approval_of_danger_lets_danger_load(policy, situation, kind):
    decision = decide(make_report(D, kind), policy, situation)
    if decision.action == "allow":
        assert policy.danger_stored
        assert situation.approved is not None
        assert situation.approved.verdict is D


@given(policies, situations)
def test_review_loads_unasked_only_with_an_approval(policy, situation):
    if decide(make_report(R), policy, situation).action == "allow":
        assert situation.approved is not None


@given(policies, situations, st.sampled_from(Verdict))
def test_nobody_there_is_never_asked(policy, situation, verdict):
    decision = decide(make_report(verdict), policy, dataclasses.replace(situation, person=False))
    assert decision.action != "ask"


def test_current_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NBGUARD_POLICY", "research")
    assert current().name == "research"
    monkeypatch.setenv("NBGUARD_POLICY", "no such policy")
    assert current().name == "strict"


GOOD = {
    "strictness": 1,
    "about": "",
    "sources": ["path"],
    "safe": {"person": "ask", "headless": "refuse", "offers": ["once"]},
    "review": {"person": "ask", "stored": True, "offers": []},
    "danger": {"person": "refuse", "stored": False, "offers": []},
    "approvals": {"days": {"safe": 0, "review": 90, "danger": 30}, "most_days": 365, "reasons": ["danger"]},
    "own_work": "load",
}


def test_a_policy_from_data():
    assert Policy.from_mapping("ours", GOOD).sources == ("path",)


@pytest.mark.parametrize(
    "change",
    [
        {"unverifiable": {"person": "ask"}},
        {"strictness": True},
        {"sources": ["web"]},
        {"sources": "path"},
        {"safe": {"person": "ask"}},
        {"safe": {"person": "refuse", "headless": "refuse", "offers": []}},
        {"danger": {"person": "allow", "stored": True, "offers": []}},
        {"danger": {"person": "ask", "stored": 1, "offers": []}},
        {"danger": {"person": "ask", "stored": True, "offers": ["forever"]}},
        {"danger": None},
        {"own_work": "always"},
        {"own_work": True},
        {"approvals": {**GOOD["approvals"], "most_days": -1}},
        {"approvals": {**GOOD["approvals"], "days": {"safe": 1, "review": 1}}},
        {"approvals": {**GOOD["approvals"], "days": {"safe": 1, "review": 1, "danger": 4_000}}},
        {"approvals": {**GOOD["approvals"], "reasons": ["unverifiable"]}},
        {"approvals": {**GOOD["approvals"], "reasons": ["safe"]}, "safe": {**GOOD["safe"], "offers": ["always"]}},
    ],
    ids=str,
)
def test_a_policy_that_cannot_be_understood_is_refused(change):
    with pytest.raises(PolicyError, match="policy ours"):
        Policy.from_mapping("ours", {**GOOD, **change})


@pytest.mark.parametrize("key", GOOD)
def test_a_policy_that_lacks_a_key_is_refused(key):
    with pytest.raises(PolicyError, match=key):
        Policy.from_mapping("ours", {k: v for k, v in GOOD.items() if k != key})


@pytest.mark.parametrize("person", [True, False])
@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("policy", ["balanced", "strict", "research"])
def test_own_work_loads_below_the_policy_strict(policy, verdict, person):
    situation = Situation(person=person, request=request(), own="Written by you.")
    without = decide(make_report(verdict), presets()[policy], Situation(person=person, request=request()))
    decision = decide(make_report(verdict), presets()[policy], situation)
    if policy == "strict" or verdict is Verdict.UNVERIFIABLE:
        assert decision == without
    else:
        assert (decision.action, decision.reason) == ("allow", "Written by you.")
        assert "own.load" in decision.rules


def test_an_approval_counts_before_own_work():
    situation = Situation(make_approval(Verdict.REVIEW), False, request(), own="Written by you.")
    assert "own.load" not in decide(make_report(Verdict.REVIEW), presets()["balanced"], situation).rules
