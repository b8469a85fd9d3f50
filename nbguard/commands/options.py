"""The options of the commands, as the command line shows them.

    commands = argparse.ArgumentParser(prog="nbguard").add_subparsers()
    add_scan(commands)

Nothing but argparse is imported here: every command of nbguard builds all parsers when it starts.
"""

from __future__ import annotations

import argparse
from typing import TypeAlias

Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
FAIL_ON = ("low", "medium", "high", "critical")
FORMATS = ("text", "json", "html")
_SCAN_HELP = """\
exit code:
  0    nothing at or above --fail-on
  1    something is; danger counts as high at least
  2    a target could not be scanned, or was only found unverifiable
  130  interrupted
"""


def add_run(commands: Parsers) -> None:
    """`run` and its options."""
    run = commands.add_parser(
        "run",
        help="run a script with its loads guarded",
        description="Run a script, or a module, as Python would, with its loads guarded from the first line.",
    )
    run.add_argument("--ask", action="store_true", help="ask in the terminal; without it nobody is asked")
    run.add_argument("-m", dest="module", action="store_true", help="SCRIPT is the name of a module")
    run.add_argument("script", metavar="SCRIPT", help="a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="for the script")


def add_scan(commands: Parsers) -> None:
    """`scan` and its options."""
    scan = commands.add_parser(
        "scan",
        help="report what loading files, folders or Hub repositories would do",
        description="Report what loading files, folders or Hub repositories would do. Nothing of them is run.",
        epilog=_SCAN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scan.add_argument(
        "targets",
        nargs="+",
        metavar="TARGET",
        help="a file, a folder, or a Hub repository (org/name, hf://org/name@revision)",
    )
    scan.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    scan.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    scan.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default="high",
        help="least severity of a finding that makes the exit code 1 (default: high)",
    )
    scan.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    scan.add_argument("--offline", action="store_true", help="look for Hub repositories in the cache only")


def add_records(commands: Parsers) -> None:
    """`approve` and `revoke` and their options."""
    approve = commands.add_parser(
        "approve",
        help="scan a target and let exactly this content load from now on",
        description="Scan a target and let exactly this content load from now on, without a question, also where"
        " nobody can be asked. What cannot be read to the end cannot be approved.",
    )
    approve.add_argument(
        "target", metavar="TARGET", help="a file, a folder, or a Hub repository (org/name, hf://org/name@revision)"
    )
    approve.add_argument("--reason", default="", help="why, for whoever reads the approvals or the audit log")
    approve.add_argument(
        "--expires", metavar="WHEN", help="30d, 12h, 4w, 2027-01-31 or never (default: as the policy says)"
    )
    approve.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    approve.add_argument(
        "--digest", metavar="D", help="refuse unless the artifact's digest begins so (12 digits or more)"
    )
    approve.add_argument(
        "--i-accept-danger", action="store_true", help="approve even what is dangerous, where the policy counts that"
    )
    revoke = commands.add_parser("revoke", help="take an approval back", description="Take an approval back.")
    revoke.add_argument("what", metavar="ID|TARGET|DIGEST", help="as 'nbguard approvals' shows it")
    revoke.add_argument("--reason", default="", help="why, for whoever reads the approvals or the audit log")


def add_preflight(commands: Parsers) -> None:
    """`preflight` and its options."""
    parser = commands.add_parser(
        "preflight",
        help="report what a notebook would load, before it is run",
        description="Report what the loads of a notebook would do, as far as its cells name them. Nothing of it is"
        " run. The exit code is as of 'nbguard scan'; what cannot be named before it runs is listed and changes none.",
    )
    parser.add_argument("notebook", metavar="NOTEBOOK", help="a .ipynb file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parser.add_argument(
        "--fail-on", choices=FAIL_ON, default="high",
        help="least severity of a finding that makes the exit code 1 (default: high)",
    )  # fmt: skip


_CONVERT_HELP = """\
exit code:
  0  converted, and the same bit for bit
  2  not converted: one sentence says why, and nothing was written
"""


def add_convert(commands: Parsers) -> None:
    """`convert` and its options."""
    parser = commands.add_parser(
        "convert",
        help="make safetensors of pickled and other weights, in an isolated process",
        description="Scan a file, folder or Hub repository, convert its weights (torch, Keras, NumPy, joblib)\n"
        "to safetensors in a process that can do nothing else, and compare every tensor bit for bit.\n"
        "What is not pure data is refused.",
        epilog=_CONVERT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target", metavar="TARGET", help="a file, a folder, or a Hub repository (org/name, hf://org/name@revision)"
    )
    parser.add_argument("--to", metavar="PATH", help="the file or folder to write; a single file: beside it by default")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--format", choices=("text", "json"), default="text")


_PUBLISHER_HELP = """\
exit code:
  0  no name resembles that of a well-known publisher
  1  at least one does
  2  a name cannot be judged (empty, a path, not UTF-8, letters that no name on the Hub has)
"""


def add_publisher(commands: Parsers) -> None:
    """`publisher` and its options."""
    parser = commands.add_parser(
        "publisher",
        help="say whose name this is, and whose it looks like",
        description="Say of names of publishers or Hub repositories whether they are well-known ones, or look like one."
        " Nothing is looked up.",
        epilog=_PUBLISHER_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="org/name, hf://org/name@revision, or a publisher alone"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
