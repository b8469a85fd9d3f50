"""How long approvals last, and which need a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbguard.policy import PolicyError, current, lifetime, named, needs_reason, presets
from nbguard.policy.lifetimes import DAY, narrowed
from nbguard.report.model import Verdict
from nbguard.settings import Settings

NOW = 1_000_000.0


def policy(**change):
    return replace(presets()["balanced"], approval_days=(0, 90, 30), approval_most_days=0, **change)


def test_what_nobody_said_comes_from_the_policy():
    assert lifetime(policy(), Verdict.SAFE, now=NOW) is None
    assert lifetime(policy(), Verdict.REVIEW, now=NOW) == NOW + 90 * DAY
    assert lifetime(policy(), Verdict.DANGER, now=NOW) == NOW + 30 * DAY


def test_what_was_said_holds_within_the_policys_limit():
    assert lifetime(policy(), Verdict.REVIEW, None, NOW) is None
    assert lifetime(policy(), Verdict.REVIEW, NOW + 5, NOW) == NOW + 5
    bound = replace(policy(), approval_most_days=60)
    assert lifetime(bound, Verdict.SAFE, now=NOW) == NOW + 60 * DAY
    assert lifetime(bound, Verdict.REVIEW, now=NOW) == NOW + 60 * DAY
    assert lifetime(bound, Verdict.REVIEW, NOW + 60 * DAY, NOW) == NOW + 60 * DAY
    for too_long in (None, NOW + 62 * DAY):
        with pytest.raises(PolicyError, match="60 days"):
            lifetime(bound, Verdict.REVIEW, too_long, NOW)


def test_settings_shorten_and_ask_for_reasons(tmp_path):
    found = narrowed(policy(), Settings(tmp_path, approvals_days=14, approvals_reasons=True))
    assert lifetime(found, Verdict.SAFE, now=NOW) == NOW + 14 * DAY
    assert all(needs_reason(found, verdict) for verdict in (Verdict.SAFE, Verdict.REVIEW, Verdict.DANGER))
    assert "always" not in (*found.safe_offers, *found.review_offers)
    assert narrowed(policy(), Settings(tmp_path)) == policy()
    short = replace(policy(), approval_most_days=7)
    assert narrowed(short, Settings(tmp_path, approvals_days=14)).approval_most_days == 7


def test_the_policy_in_force_follows_the_settings(tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text("[approvals]\ndays = 3\n")
    monkeypatch.setenv("NBGUARD_CONFIG", str(config))
    assert current().approval_most_days == 3
    assert named("strict").approval_most_days == 3


def test_no_preset_keeps_what_needs_a_reason_by_a_button_that_takes_none():
    for preset in presets().values():
        for word, offers in (("safe", preset.safe_offers), ("review", preset.review_offers)):
            assert not (word in preset.approval_reasons and "always" in offers)
