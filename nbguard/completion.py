"""Completion of `%safemodel` in notebooks and terminals: commands, paths, cached repositories, approvals.

add(get_ipython())

Cached repositories come from the names of the cache's folders alone: pressing Tab opens no connection and imports
neither huggingface_hub nor anything else that is heavy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_SUGGESTIONS = 200
COMMANDS = ("scan", "preflight", "status", "on", "off", "report", "approve", "revoke", "approvals", "audit", "verify",
            "lock", "download")  # fmt: skip
_OPTIONS = {
    "scan": ("--revision",),
    "approve": ("--revision", "--reason", "--expires", "--i-accept-danger"),
    "revoke": ("--reason",),
    "verify": ("--checksums", "--signature", "--public-key", "--certificate-chain", "--identity", "--revision"),
    "off": ("--reason",),
}
_SPANS = ("1d", "7d", "30d", "90d", "365d", "never")
"""Suggested for `--expires`; anything that `nbguard approve --help` names is taken."""


def complete(shell: Any, event: Any) -> list[str]:
    """What could stand where the cursor is. `event` is IPython's: `line`, `symbol`, `text_until_cursor`."""
    typed = event.text_until_cursor.lstrip()
    words = typed.split()
    current = "" if not words or typed[-1:].isspace() else words[-1]
    before = words[1:] if current == "" else words[1:-1]
    if not before:
        return [c for c in COMMANDS if c.startswith(current)]
    command = before[0]
    if command in ("approvals", "audit", "lock"):
        return [w for w in _record_words(command, before[1:]) if w.startswith(current)]
    if before[-1] == "--revision" and command in _OPTIONS:
        return [r for r in cached_revisions(before[1]) if r.startswith(current)] if len(before) > 2 else []
    if before[-1] == "--expires":
        return [s for s in _SPANS if s.startswith(current)]
    if current.startswith("-"):
        return [o for o in _OPTIONS.get(command, ()) if o.startswith(current)]
    if command == "preflight" and len(before) == 1:
        return [p for p in _paths(current) if p.endswith((".ipynb", "/"))][:MAX_SUGGESTIONS]
    if command in ("scan", "approve", "verify") and len(before) == 1:
        return [*_paths(current), *(r for r in cached_repositories() if r.startswith(current))][:MAX_SUGGESTIONS]
    if command == "revoke" and len(before) == 1:
        return [i for i in _approvals() if i.startswith(current)][:MAX_SUGGESTIONS]
    if command == "report" and len(before) == 1:
        from nbguard import history

        return [n for n in map(str, range(1, len(history.all_seen()) + 1)) if n.startswith(current)]
    return []


def add(shell: Any) -> None:
    shell.set_hook("complete_command", complete, str_key="%safemodel")


def remove(shell: Any) -> None:
    dispatcher = shell.strdispatchers.get("complete_command")
    if dispatcher is not None:
        dispatcher.strs.pop("%safemodel", None)


def cached_repositories() -> Iterator[str]:
    """`org/name` of every model in the Hub cache, by the names of its folders."""
    try:
        names = sorted(entry.name for entry in os.scandir(_cache()) if entry.name.startswith("models--"))
    except OSError:
        return
    for name in names:
        parts = name.removeprefix("models--").split("--")
        if 1 <= len(parts) <= 2 and name.isprintable() and not any(c.isspace() for c in name):
            yield "/".join(parts)


def cached_revisions(repository: str) -> Iterator[str]:
    """Branches and tags, then commits, of which the Hub cache holds something."""
    folder = _cache() / ("models--" + repository.removeprefix("hf://").partition("@")[0].replace("/", "--"))
    for part in ("refs", "snapshots"):
        try:
            names = sorted(entry.name for entry in os.scandir(folder / part))
        except (OSError, ValueError):
            continue
        yield from (name for name in names if name.isprintable() and not any(c.isspace() for c in name))


def _record_words(command: str, before: list[str]) -> list[str]:
    """What could follow in `%safemodel approvals …` and `%safemodel audit …`: acts, options, their values, ids."""
    import argparse

    from nbguard.commands import record_options

    parser = argparse.ArgumentParser(add_help=False)
    (record_options.fill_audit if command == "audit" else record_options.fill_approvals)(parser)
    act = ""
    for word in before:
        acts = next((a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), {})
        if word in acts:
            parser, act = acts[word], word
    if before and before[-1].startswith("-"):
        option = next((a for a in parser._actions if before[-1] in a.option_strings), None)
        if option is not None and option.nargs != 0:
            return [str(choice) for choice in option.choices or ()]
    words = [word for a in parser._actions for word in a.option_strings if word.startswith("--")]
    below = [str(c) for a in parser._actions if isinstance(a, argparse._SubParsersAction) for c in a.choices]
    ids = _approvals() if act in ("show", "expire", "revoke") else []
    return [*below, *ids, *words]


def _cache() -> Path:
    """Where huggingface_hub keeps what it downloads, by its own order of settings."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def _paths(start: str) -> Iterator[str]:
    head = start.rpartition("/")[2]
    shown = start[: len(start) - len(head)]
    try:
        entries = sorted(os.scandir(os.path.expanduser(shown) or "."), key=lambda e: e.name)
    except (OSError, ValueError):
        return
    for entry in entries:
        name = entry.name
        if not name.startswith(head) or (name.startswith(".") and not head.startswith(".")):
            continue
        if name.isprintable() and not any(c.isspace() or c in "\"'\\" for c in name):
            yield f"{shown}{name}/" if entry.is_dir() else f"{shown}{name}"


def _approvals() -> list[str]:
    from nbguard.approvals import RecordError, Store

    try:
        return [approval.id for approval in Store().list()]
    except RecordError:
        return []
