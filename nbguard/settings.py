"""What this site and this user have set: where data lives, which policy and mode hold, the limits of a scan.

    settings = load()
    settings.policy, settings.mode, settings.data_dir
    settings.problems          # not empty: something could not be understood, and the strict policy holds

Three layers, from the one that counts most: the site's `/etc/nbguard/config.toml`, the user's `config.toml` (or the
file that `NBGUARD_CONFIG` names), and the environment (`NBGUARD_POLICY`, `NBGUARD_MODE`). A lower layer can only be
stricter than the site's, unless the site says `user_may_relax = true`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from nbguard import settings_records

if TYPE_CHECKING:
    from nbguard.scanners.base import Limits

Mode = Literal["observe", "warn", "enforce"]

MODES: tuple[str, ...] = get_args(Mode)
"""From the one that stops nothing to the one that stops: the order of strictness."""

SITE_FILE = Path("/etc/nbguard/config.toml")
"""Not movable by the environment: what a user can move does not bind that user."""

_PERMISSIONS = ("user_may_relax", "user_may_turn_off")
"""What only a site can say: which of its own rules its users may leave."""

MAX_CONFIG_BYTES = 1 << 20
"""A configuration file is a few lines; anything larger is not one."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set, merged from all layers."""

    data_dir: Path
    """Where approvals and the audit log live."""
    policy: str = "balanced"
    """Name of a policy: a preset, see `nbguard.policy`."""
    mode: Mode = "enforce"
    """`enforce` stops loads; `warn` and `observe` only say, or log, what would have been stopped."""
    scan_seconds: float = 120.0
    """Wall time that the scan of one file may take; beyond it the file is unverifiable."""
    scan_memory_mb: int = 4096
    """MiB of address space that the scanning process may use; beyond it the file is unverifiable."""
    approvals_days: int = 0
    """The most days that an approval lasts, whatever the policy says; 0: as the policy says."""
    approvals_reasons: bool = False
    """Every approval needs a reason."""
    approvals_user_keys: bool = True
    """Bundles of approvals are taken from keys that the user trusts, not only from those of the site."""
    audit_leave_out: tuple[str, ...] = ()
    """Fields that the audit log does not hold."""
    audit_hash: tuple[str, ...] = ()
    """Fields of which it holds a keyed hash only."""
    audit_salt_file: str = ""
    """Absolute path of the key of those hashes; empty: one of this user's own."""
    audit_segment_mb: int = 16
    """MiB after which the audit log begins a new segment."""
    audit_keep_days: int = 0
    """Days after which whole segments are deleted; 0: never."""
    audit_keep_segments: int = 0
    """Finished segments that are kept; 0: all."""
    may_turn_off: bool = True
    """Whether a user may switch the interception off in a session (`%safemodel off`): without a site's configuration
    yes, with one only where it says `user_may_turn_off = true`, or lets users relax it."""
    problems: tuple[str, ...] = ()
    """Sentences: what could not be understood. Where there is one, `policy` is `strict` and `mode` is `enforce`."""
    notes: tuple[str, ...] = ()
    """Sentences: settings of a lower layer that were left out because they would relax the site's."""


@dataclass(frozen=True)
class _Layer:
    """One source of settings."""

    name: str
    values: Mapping[str, Any]


_LIMITS: dict[str, tuple[str, type, float, float]] = {
    "seconds": ("scan_seconds", float, 0.1, 86_400.0),
    "memory_mb": ("scan_memory_mb", int, 256, 1_048_576),
}
"""Key under `[scan]` → field, type, least and largest value. A smaller limit is the stricter one."""


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read all layers anew. Never raises: what cannot be understood makes the strict policy hold, and says so."""
    env = os.environ if environ is None else environ
    settings = Settings(data_dir=data_dir(env))
    problems: list[str] = []
    notes: list[str] = []
    site = _file_layer("the site's configuration", SITE_FILE, False, problems, site=True)
    bound = bool(site.values) and site.values.get("user_may_relax") is not True
    settings = _apply(settings, site, False, notes)
    settings = replace(settings, may_turn_off=site.values.get("user_may_turn_off", not bound))
    user_path, named = _user_file(env)
    user = _file_layer("your configuration", user_path, named, problems, site=False)
    settings = _apply(settings, user, bound, notes)
    settings = _apply(settings, _environment_layer(env, problems), bound, notes)
    if problems:
        return replace(
            settings, policy="strict", mode="enforce", may_turn_off=False, problems=tuple(problems), notes=tuple(notes)
        )
    return replace(settings, notes=tuple(notes))


def scan_limits() -> Limits:
    """How much one scan may take, as it is set now."""
    from nbguard.scanners.base import Limits

    found = load()
    return Limits(seconds=found.scan_seconds, memory=found.scan_memory_mb << 20)


def data_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The user's data directory, or the one that `NBGUARD_DATA_DIR` names. It need not exist yet."""
    override = (os.environ if environ is None else environ).get("NBGUARD_DATA_DIR")
    if override:
        return Path(override).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("nbguard", appauthor=False))


def private_dir(path: Path) -> Path:
    """`path`, made for this user's eyes only (0700) where it is missing. Raises OSError where it cannot be.

    A folder that is there keeps its mode: it may be shared on purpose, and the files in it are private themselves.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
    return path


def _user_file(env: Mapping[str, str]) -> tuple[Path, bool]:
    named = env.get("NBGUARD_CONFIG")
    if named:
        return Path(named).expanduser(), True
    import platformdirs

    return Path(platformdirs.user_config_dir("nbguard", appauthor=False)) / "config.toml", False


def _file_layer(name: str, path: Path, must_exist: bool, problems: list[str], *, site: bool) -> _Layer:
    import tomllib

    where = f"{name} ({str(path)!r})"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        if must_exist:
            problems.append(f"{where} does not exist.")
        return _Layer(name, {})
    except OSError as error:
        problems.append(f"{where} cannot be read: {error.strerror or 'input/output error'}.")
        return _Layer(name, {})
    if len(raw) > MAX_CONFIG_BYTES:
        problems.append(f"{where} is larger than {MAX_CONFIG_BYTES} bytes.")
        return _Layer(name, {})
    try:
        data = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        problems.append(f"{where} is not TOML: {str(error)[:200]}.")
        return _Layer(name, {})
    return _Layer(name, _checked(where, data, problems, site=site))


def _environment_layer(env: Mapping[str, str], problems: list[str]) -> _Layer:
    data = {key: env[variable] for key, variable in (("policy", "NBGUARD_POLICY"), ("mode", "NBGUARD_MODE"))
            if env.get(variable)}  # fmt: skip
    return _Layer("the environment", _checked("the environment", data, problems, site=False))


def _checked(where: str, data: Mapping[str, Any], problems: list[str], *, site: bool) -> dict[str, Any]:
    """The values that are understood, flat by field; everything else becomes a problem."""
    good: dict[str, Any] = {}
    for key, value in data.items():
        if key == "policy":
            choices = _policy_names()
        elif key == "mode":
            choices = MODES
        elif key in _PERMISSIONS and site:
            if isinstance(value, bool):
                good[key] = value
            else:
                problems.append(f"{where}: {key} must be true or false.")
            continue
        elif key == "scan" and isinstance(value, dict):
            _check_limits(where, value, problems, good)
            continue
        elif key in settings_records.TABLES and isinstance(value, dict):
            settings_records.check(where, key, value, problems, good)
            continue
        else:
            problems.append(f"{where} has a key that nbguard does not know: {str(key)[:80]!r}.")
            continue
        if isinstance(value, str) and value in choices:
            good[key] = value
        else:
            problems.append(f"{where}: {key} must be one of {', '.join(choices)}, not {str(value)[:80]!r}.")
    return good


def _check_limits(where: str, table: Mapping[str, Any], problems: list[str], good: dict[str, Any]) -> None:
    for key, value in table.items():
        if key not in _LIMITS:
            problems.append(f"{where} has a key that nbguard does not know: 'scan.{str(key)[:80]}'.")
            continue
        field, kind, least, most = _LIMITS[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (kind is int and not isinstance(value, int)) or not least <= value <= most:
            problems.append(f"{where}: scan.{key} must be a number from {least:g} to {most:g}.")
            continue
        good[field] = kind(value)


def _policy_names() -> tuple[str, ...]:
    from nbguard.policy.presets import presets

    return tuple(presets())


def _apply(settings: Settings, layer: _Layer, bound: bool, notes: list[str]) -> Settings:
    """`settings` with the layer's values; where it is `bound`, only those that are at least as strict."""
    values = {key: value for key, value in layer.values.items() if key not in _PERMISSIONS}
    if bound:
        for key in [k for k, v in values.items() if _laxer(k, v, values, settings)]:
            notes.append(
                f"{layer.name} sets {key} to {values.pop(key)}, laxer than this site's {getattr(settings, key)};"
                " left out."
            )
    return replace(settings, **values)


def _laxer(field: str, new: Any, values: Mapping[str, Any], settings: Settings) -> bool:
    old = getattr(settings, field)
    if field == "mode":
        return MODES.index(new) < MODES.index(old)
    if field == "policy":
        from nbguard.policy.presets import presets

        known = presets()
        return known[new].strictness < known[old].strictness
    if field.startswith(("approvals_", "audit_")):
        return settings_records.laxer(field, new, values, settings)
    return bool(new > old)
