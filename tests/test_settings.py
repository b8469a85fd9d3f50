"""Layers of settings: a lower one is never laxer than the site's, and what is not understood means strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard import settings


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write the site's and the user's file, and load with this environment."""
    site, user = tmp_path / "site.toml", tmp_path / "user.toml"
    monkeypatch.setattr(settings, "SITE_FILE", site)

    def load(site_text: str | None = None, user_text: str | None = None, **env: str) -> settings.Settings:
        if site_text is not None:
            site.write_text(site_text)
        environ = {"NBGUARD_DATA_DIR": str(tmp_path / "data"), **env}
        if user_text is not None:
            user.write_text(user_text)
            environ["NBGUARD_CONFIG"] = str(user)
        else:
            environ["HOME"] = str(tmp_path)
            monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing-here"))
        return settings.load(environ)

    return load


def test_without_any_file_balanced_is_enforced(layers, tmp_path):
    found = layers()
    assert (found.policy, found.mode, found.problems, found.notes) == ("balanced", "enforce", (), ())
    assert found.data_dir == tmp_path / "data"


def test_user_and_environment_choose_freely_where_no_site_binds_them(layers):
    assert layers(None, 'policy = "research"').policy == "research"
    assert layers(None, 'policy = "research"', NBGUARD_POLICY="strict", NBGUARD_MODE="warn").mode == "warn"


def test_a_lower_layer_is_never_laxer_than_the_site(layers):
    found = layers(
        'policy = "balanced"\n[scan]\nseconds = 60', 'policy = "research"\nmode = "observe"\n[scan]\nseconds = 90'
    )
    assert (found.policy, found.mode, found.scan_seconds) == ("balanced", "enforce", 60.0)
    assert len(found.notes) == 3
    assert found.problems == ()


def test_a_lower_layer_may_be_stricter_than_the_site(layers):
    found = layers(
        'policy = "research"\nmode = "warn"', 'policy = "balanced"\nmode = "enforce"', NBGUARD_POLICY="strict"
    )
    assert (found.policy, found.mode, found.notes) == ("strict", "enforce", ())


def test_a_site_may_let_users_relax(layers):
    found = layers('policy = "strict"\nuser_may_relax = true', 'policy = "research"')
    assert found.policy == "research"


def test_only_the_site_may_let_users_relax(layers):
    found = layers('policy = "balanced"', "user_may_relax = true", NBGUARD_POLICY="research")
    assert found.policy == "strict"
    assert "user_may_relax" in found.problems[0]


def test_site_defaults_bind_too(layers):
    found = layers("[scan]\nseconds = 60", NBGUARD_MODE="observe")
    assert found.mode == "enforce"


@pytest.mark.parametrize(
    "text",
    [
        "polcy = 'research'",
        "policy = 'lax'",
        "policy = 1",
        "mode = 'off'",
        "policy = [",
        "[scan]\nsecs = 1",
        "[scan]\nseconds = -1",
        "[scan]\nseconds = true",
        "[scan]\nmemory_mb = 0.5",
        "scan = 3",
        "user_may_relax = 'yes'",
        "\x00",
    ],
)
def test_what_is_not_understood_means_strict_and_enforced(layers, text):
    for found in (layers(text), layers("", text)):
        assert (found.policy, found.mode) == ("strict", "enforce")
        assert len(found.problems) >= 1
        assert all(p.endswith(".") and "Traceback" not in p for p in found.problems)


def test_bad_environment_means_strict(layers):
    assert layers(NBGUARD_POLICY="anything").policy == "strict"
    assert layers(NBGUARD_MODE="off").problems


def test_a_named_configuration_that_is_missing_means_strict(layers, tmp_path):
    found = layers(NBGUARD_CONFIG=str(tmp_path / "gone.toml"))
    assert found.policy == "strict"
    assert "does not exist" in found.problems[0]


def test_an_unreadable_site_file_means_strict(layers, tmp_path):
    (tmp_path / "site.toml").mkdir()
    found = layers()
    assert found.policy == "strict"


def test_private_dir_is_for_this_user_only(tmp_path):
    path = settings.private_dir(tmp_path / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700
    path.chmod(0o755)
    assert settings.private_dir(path).stat().st_mode & 0o777 == 0o755, "a folder that is there keeps its mode"
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        settings.private_dir(tmp_path / "file")


def test_records_are_set_for_the_site_and_for_a_user(layers):
    found = layers(
        None, '[approvals]\ndays = 30\nreasons = true\n[audit]\nleave_out = ["user"]\nhash = ["who"]\nkeep_days = 90'
    )
    assert (found.approvals_days, found.approvals_reasons, found.approvals_user_keys) == (30, True, True)
    assert (found.audit_leave_out, found.audit_hash, found.audit_keep_days) == (("user",), ("who",), 90)
    assert found.problems == ()


def test_below_a_site_more_is_written_down_and_kept_longer_never_less(layers):
    site = (
        "[approvals]\ndays = 30\nreasons = true\nuser_keys = false\n"
        '[audit]\nleave_out = ["user", "reason"]\nhash = ["target"]\nkeep_days = 90\nkeep_segments = 4'
    )
    more = layers(
        site,
        "[approvals]\ndays = 7\n[audit]\nleave_out = []\nhash = ['user']\nkeep_days = 0\nkeep_segments = 9",
    )
    assert (more.approvals_days, more.audit_leave_out, more.audit_hash) == (7, (), ("user",))
    assert (more.audit_keep_days, more.audit_keep_segments, more.notes) == (0, 9, ())
    less = layers(
        site,
        "[approvals]\ndays = 60\nreasons = false\nuser_keys = true\n"
        "[audit]\nleave_out = ['user', 'why']\nhash = ['target', 'loader']\nkeep_days = 30\nkeep_segments = 1",
    )
    assert (less.approvals_days, less.approvals_reasons, less.approvals_user_keys) == (30, True, False)
    assert (less.audit_leave_out, less.audit_hash) == (("reason", "user"), ("target",))
    assert (less.audit_keep_days, less.audit_keep_segments) == (90, 4)
    assert len(less.notes) == 7


@pytest.mark.parametrize(
    "text",
    [
        '[audit]\nleave_out = ["verdict"]',
        '[audit]\nleave_out = "user"',
        "[audit]\nkeep_days = -1",
        "[audit]\nkeep_days = true",
        '[audit]\nsalt_file = "here"',
        "[audit]\nsegments = 3",
        "[approvals]\ndays = 0",
        "[approvals]\nreasons = 1",
        "approvals = 3",
    ],
)
def test_records_that_cannot_be_understood_mean_strict(layers, text):
    found = layers(None, text)
    assert found.policy == "strict"
    assert found.problems
