"""The options of `nbguard approvals` and `nbguard audit`, for the command line and for the magic.

parser = argparse.ArgumentParser(prog="%safemodel approvals")
fill_approvals(parser)

Nothing but argparse is imported here: every command of nbguard builds these parsers when it starts.
"""

from __future__ import annotations

import argparse

Parsers = argparse._SubParsersAction
PRUNE_AFTER = "90d"
BUNDLE_EXPIRES = "30d"
STATES = ("active", "expired", "revoked", "ended", "all")
VERDICTS = ("safe", "review", "danger")


def add_approvals(commands: Parsers[argparse.ArgumentParser]) -> None:
    """Put `approvals` among the commands."""
    fill_approvals(
        commands.add_parser(
            "approvals",
            help="list what is approved, let it end, carry it between machines",
            description="List what is approved; let approvals end; carry them between machines in signed bundles.",
        )
    )


def fill_approvals(parser: argparse.ArgumentParser) -> None:
    """The options and subcommands; for the command line and for `%safemodel approvals`."""
    parser.set_defaults(act="list")
    _listing(parser)
    acts = parser.add_subparsers(metavar="ACT")
    listing = acts.add_parser("list", help="list approvals, as without an act")
    _listing(listing, again=True)
    show = acts.add_parser("show", help="everything about one approval")
    show.add_argument("what", metavar="ID|TARGET|DIGEST")
    show.add_argument("--format", choices=("text", "json"), default="text")
    show.set_defaults(act="show")
    expire = acts.add_parser("expire", help="let an approval end sooner")
    expire.add_argument("what", metavar="ID|TARGET|DIGEST")
    expire.add_argument("--at", required=True, metavar="WHEN", help="now, 30d, 12h, 4w, 2027-01-31")
    expire.set_defaults(act="expire")
    revoke = acts.add_parser("revoke", help="take an approval back")
    revoke.add_argument("what", metavar="ID|TARGET|DIGEST")
    revoke.add_argument("--reason", default="", help="why, for whoever reads the approvals or the audit log")
    revoke.set_defaults(act="revoke")
    prune = acts.add_parser("prune", help="delete approvals that ended long ago")
    prune.add_argument(
        "--older-than", default=PRUNE_AFTER, metavar="AGE", help=f"ended so long ago (default: {PRUNE_AFTER})"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    prune.set_defaults(act="prune")
    _exchange(acts)


def _exchange(acts: Parsers[argparse.ArgumentParser]) -> None:
    """Put `export`, `import` and `keys` among the acts of `nbguard approvals`."""
    out = acts.add_parser(
        "export",
        help="write approvals and revocations into a signed bundle",
        description="Write the approvals in force, and what was revoked, into one signed file.",
    )
    out.add_argument("file", metavar="FILE", help="the bundle to write; one that is there is not overwritten")
    out.add_argument("--key", default="", metavar="NAME", help="which of your keys signs, where you have several")
    out.add_argument(
        "--expires", default=BUNDLE_EXPIRES, metavar="WHEN", help=f"of the bundle (default: {BUNDLE_EXPIRES})"
    )
    _filters(out, states=False, again=True)
    out.set_defaults(act="export", state="active")
    taken = acts.add_parser(
        "import",
        help="take the approvals and revocations of a signed bundle",
        description="Take the approvals and revocations of a bundle that a trusted key signed. What is loaded by them"
        " is scanned, and compared with what was approved, as ever.",
    )
    taken.add_argument("file", metavar="FILE")
    taken.add_argument("--dry-run", action="store_true", help="only show what would be imported")
    taken.add_argument("--i-accept-danger", action="store_true", help="take approvals of what is dangerous too")
    taken.add_argument("--format", choices=("text", "json"), default="text")
    taken.set_defaults(act="import")
    keys_ = acts.add_parser("keys", help="keys that sign bundles, and keys that are trusted")
    keys_.set_defaults(act="keys", key_act="list", what="", format="text")
    deeds = keys_.add_subparsers(metavar="DEED")
    for deed, what, about in (
        ("list", "", "your keys, and the keys that are trusted"),
        ("new", "NAME", "make a key of your own"),
        ("show", "NAME", "the public line of one of your keys, for others to trust"),
        ("trust", "FILE|LINE", "take bundles that this public key signed"),
        ("forget", "NAME|ID", "take them no longer"),
    ):
        parser = deeds.add_parser(deed, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if what:
            parser.add_argument("what", metavar=what)
        if deed in ("list", "show"):
            parser.add_argument("--format", choices=("text", "json"), default="text")
        parser.set_defaults(key_act=deed)


def _filters(parser: argparse.ArgumentParser, *, again: bool = False, states: bool = True) -> None:
    """The options of a filter; `again`: without defaults, because the parser above has them."""
    default = argparse.SUPPRESS if again else None
    text = argparse.SUPPRESS if again else ""
    add = parser.add_argument
    add("--target", default=text, metavar="PATTERN", help="of the target: a part of it, or a pattern such as 'org/*'")
    add("--who", default=text, metavar="PATTERN", help="who gave it")
    add("--verdict", default=text, choices=VERDICTS)
    add("--older-than", default=default, metavar="AGE", dest="older", help="given at least so long ago: 30d, 12h, 4w")
    add("--newer-than", default=default, metavar="AGE", dest="newer", help="given at most so long ago")
    add("--text", default=text, metavar="WORDS", help="in the target, the reason, the id, a digest …")
    add("--origin", default=text, metavar="KEY", help="here, bundle, or the key that signed the bundle")
    if states:
        state = argparse.SUPPRESS if again else "active"
        add("--state", choices=STATES, default=state, help="default: active, those in force")
        for name in ("expired", "revoked", "all"):
            add(f"--{name}", action="store_const", const=name, dest="state", default=state, help=f"--state {name}")


def _listing(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    default = argparse.SUPPRESS if again else "text"
    parser.add_argument("--format", choices=("text", "json"), default=default)
    _filters(parser, again=again)


def add_audit(commands: Parsers[argparse.ArgumentParser]) -> None:
    """Put `audit` among the commands."""
    fill_audit(
        commands.add_parser(
            "audit",
            help="show the audit log, check that nobody altered it, copy it, keep it short",
            description="Show the last entries of the audit log; check that nobody altered it (exit code 1 if so);"
            " write a copy of it; delete what is old.",
        )
    )


def fill_audit(parser: argparse.ArgumentParser) -> None:
    """The options and subcommands; for the command line and for `%safemodel audit`."""
    parser.set_defaults(act="list")
    _entries(parser)
    acts = parser.add_subparsers(metavar="ACT")
    for name in ("list", "tail"):
        listing = acts.add_parser(name, help="the last entries, as without an act")
        _entries(listing, again=True)
    check = acts.add_parser("verify", help="check that nobody altered it; exit code 1 if so")
    check.add_argument("file", nargs="?", metavar="FILE", help="a copy that was exported, instead of the log")
    check.add_argument("--format", choices=("text", "json"), default=argparse.SUPPRESS)
    check.set_defaults(act="verify")
    copy = acts.add_parser("export", help="write a copy, or part of it")
    copy.add_argument("file", metavar="FILE", help="one that is there is not overwritten")
    copy.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", dest="form")
    _entry_filters(copy, again=True)
    copy.set_defaults(act="export")
    prune = acts.add_parser("prune", help="delete finished segments that are old; an entry says so")
    prune.add_argument("--keep-days", type=int, metavar="N", help="those with an entry of the last N days stay")
    prune.add_argument("--keep-segments", type=int, metavar="N", help="the last N of them stay")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    prune.set_defaults(act="prune")


def _entries(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    hidden = argparse.SUPPRESS
    parser.add_argument(
        "-n", "--number", type=int, default=hidden if again else 20, help="entries to show, 0 for all (default: 20)"
    )
    parser.add_argument("--format", choices=("text", "json"), default=hidden if again else "text")
    _entry_filters(parser, again=again)


def _entry_filters(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    text = argparse.SUPPRESS if again else ""
    default = argparse.SUPPRESS if again else None
    add = parser.add_argument
    add("--event", default=text, metavar="PATTERN", help="load.refused, 'load.*', approval …")
    add("--target", default=text, metavar="PATTERN", help="a part of the target, or a pattern such as 'org/*'")
    add("--who", default=text, metavar="PATTERN", help="who answered, or whose process it was")
    add("--verdict", default=text, choices=(*VERDICTS, "unverifiable"))
    add("--since", default=default, metavar="WHEN", help="7d or 12h ago, 2027-01-31, 2027-01-31T10:00 (UTC)")
    add("--until", default=default, metavar="WHEN", help="before that moment")
    add("--text", default=text, metavar="WORDS", help="anywhere in the entry")
