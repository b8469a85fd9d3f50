"""The options of the commands about repositories on the Hub.

    commands = argparse.ArgumentParser(prog="nbguard").add_subparsers()
    add_lock(commands)

Nothing but argparse is imported here, as in `options`.
"""

from __future__ import annotations

import argparse

from nbguard.commands.options import Parsers

_LOCK_HELP = """\
exit code:
  0  locked; with --check: everything is as locked; with --upgrade: nothing is left to decide
  1  something was not accepted, and is not locked; with --check: something is not as locked;
     with --upgrade: there is a difference that was not accepted
  2  it could not be done, or not be checked; a target is not there
"""


def add_lock(commands: Parsers) -> None:
    """`lock` and its options."""
    parser = commands.add_parser(
        "lock",
        help="write, check or upgrade nbguard.lock: exactly what may load where nobody can be asked",
        description="Write down, by commit and digest, what a notebook or script loads. To lock is to accept: what is"
        " safe is locked, what needs a look is locked with --reason or after a question in the terminal.",
        epilog=_LOCK_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fill_lock(parser)


def fill_lock(parser: argparse.ArgumentParser) -> None:
    """The options of `lock`, for both faces."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a file, a folder, or a Hub repository (org/name, hf://org/name@revision); without any, everything that"
        " --notebook names, or that is in the lock already",
    )
    parser.add_argument("--notebook", metavar="FILE.ipynb", help="lock what this notebook loads, beside it")
    parser.add_argument("--lock", metavar="FILE", help="the lock (default: beside the notebook, or here)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument("--check", action="store_true", help="write nothing, compare; what differs is named")
    acts.add_argument(
        "--upgrade", action="store_true", help="show what is different at the commit that the branch has now, and ask"
    )
    parser.add_argument("--yes", action="store_true", help="--upgrade: accept what is safe without a question")
    parser.add_argument("--reason", default="", help="why, for whoever reviews the lock; accepts what needs a look")
    parser.add_argument(
        "--i-accept-danger", action="store_true", help="lock even what is dangerous, where the policy counts that"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
