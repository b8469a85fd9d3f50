"""The settings of approvals and the audit log: `[approvals]` and `[audit]` of a configuration file.

    [approvals]
    days = 90                     # the most that an approval lasts, whatever the policy says
    reasons = true                # every approval needs a reason
    user_keys = false             # bundles only from keys that the site trusts

    [audit]
    leave_out = ["user"]          # fields that are not written down
    hash = ["target", "who"]      # fields written down as a keyed hash
    salt_file = "/etc/nbguard/audit.salt"
    segment_mb = 16               # a new segment begins when one is this large
    keep_days = 365               # older segments are deleted; 0: none
    keep_segments = 0             # more than this many are deleted, the oldest first; 0: none

Where a site has a file, a lower layer can only write down more and keep it longer, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PRIVATE_FIELDS = ("user", "pid", "target", "targets", "who", "reason", "why", "loader")
"""What may be left out of the audit log, or hashed. Never what a decision was, on which content, and the chain."""

_NUMBERS: dict[str, dict[str, tuple[str, int, int]]] = {
    "approvals": {"days": ("approvals_days", 1, 3_650)},
    "audit": {
        "segment_mb": ("audit_segment_mb", 1, 4_096),
        "keep_days": ("audit_keep_days", 0, 36_500),
        "keep_segments": ("audit_keep_segments", 0, 100_000),
    },
}
"""Table → key → field, least and largest value."""
_SWITCHES: dict[str, dict[str, str]] = {
    "approvals": {"reasons": "approvals_reasons", "user_keys": "approvals_user_keys"},
    "audit": {},
}
_LISTS: dict[str, dict[str, str]] = {"approvals": {}, "audit": {"leave_out": "audit_leave_out", "hash": "audit_hash"}}
TABLES = tuple(_NUMBERS)


def check(where: str, name: str, table: Mapping[str, Any], problems: list[str], good: dict[str, Any]) -> None:
    """Put the values of `[approvals]` or `[audit]` that are understood into `good`, by field of `Settings`; everything
    else becomes a sentence in `problems`."""
    for key, value in table.items():
        at = f"{where}: {name}.{key}"
        if key in _NUMBERS[name]:
            field, least, most = _NUMBERS[name][key]
            if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
                good[field] = value
            else:
                problems.append(f"{at} must be a whole number from {least} to {most}.")
        elif key in _SWITCHES[name]:
            if isinstance(value, bool):
                good[_SWITCHES[name][key]] = value
            else:
                problems.append(f"{at} must be true or false.")
        elif key in _LISTS[name]:
            if isinstance(value, list) and all(isinstance(v, str) and v in PRIVATE_FIELDS for v in value):
                good[_LISTS[name][key]] = tuple(sorted(set(value)))
            else:
                problems.append(f"{at} must be a list of: {', '.join(PRIVATE_FIELDS)}.")
        elif (name, key) == ("audit", "salt_file"):
            if isinstance(value, str) and value.startswith("/") and "\0" not in value:
                good["audit_salt_file"] = value
            else:
                problems.append(f"{at} must be an absolute path.")
        else:
            problems.append(f"{where} has a key that nbguard does not know: '{name}.{str(key)[:80]}'.")


def laxer(field: str, new: Any, values: Mapping[str, Any], old: Any) -> bool:
    """Whether a lower layer's value writes down less, keeps it for a shorter time, or asks for less than the site's.

    Args:
        values: all values of the lower layer, because hashing a field instead of leaving it out is more.
        old: the settings as they are without that layer.
    """
    return field in _LAXER and _LAXER[field](new, values, old)


def _shorter(field: str) -> Callable[[Any, Mapping[str, Any], Any], bool]:
    """Whether less is kept; 0 keeps everything."""

    def test(new: int, values: Mapping[str, Any], old: Any) -> bool:
        before = getattr(old, field)
        return new != 0 and (before == 0 or new < before)

    return test


_LAXER: dict[str, Callable[[Any, Mapping[str, Any], Any], bool]] = {
    "approvals_days": lambda new, values, old: bool(old.approvals_days and new > old.approvals_days),
    "approvals_reasons": lambda new, values, old: old.approvals_reasons and not new,
    "approvals_user_keys": lambda new, values, old: new and not old.approvals_user_keys,
    "audit_leave_out": lambda new, values, old: not set(new) <= set(old.audit_leave_out),
    "audit_hash": lambda new, values, old: not set(new) <= {*old.audit_hash, *old.audit_leave_out},
    "audit_salt_file": lambda new, values, old: new != old.audit_salt_file,
    "audit_segment_mb": lambda new, values, old: False,
    "audit_keep_days": _shorter("audit_keep_days"),
    "audit_keep_segments": _shorter("audit_keep_segments"),
}
