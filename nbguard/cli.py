"""The command line.

    nbguard scan model.pt                       # what would loading this do?
    nbguard approve model.pt --expires 30d      # load this content without a question from now on

Errors are one sentence on standard error; nbguard's own traceback is shown only where NBGUARD_DEBUG is set.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import nbguard
from nbguard.commands import record_options

_SCAN_HELP = """\
exit code:
  0  nothing at or above --fail-on
  1  something is
  2  a target could not be scanned, or was only found unverifiable
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 where it could not be done, 130 where it was interrupted."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal in another encoding shows escapes and does not end in an error
            reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(argv)
        return _run(options)
    except KeyboardInterrupt:
        sys.stderr.write("nbguard: interrupted.\n")
        return 130
    except BrokenPipeError:  # the reader of our output went away; Python must not complain about it when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.command in ("scan", "approve", "preflight"):
        from nbguard.scanners.pool import POOL

        POOL.prewarm()  # the worker gets ready while the rest is imported
    from nbguard.commands.scan import complain
    from nbguard.errors import NbguardError

    _say_problems()
    try:
        match options.command:
            case "scan":
                from nbguard.commands import scan

                return scan.run(options)
            case "preflight":
                from nbguard.commands import preflight

                return preflight.command(options)
            case "run":
                from nbguard.commands import run

                return run.run(options)
            case "convert":
                from nbguard.commands import convert

                return convert.run(options)
            case command:
                from nbguard.commands import approvals, audit, records

                handlers = {
                    "approve": records.approve,
                    "revoke": records.revoke,
                    "approvals": approvals.run,
                    "audit": audit.run,
                }
                return handlers[command](options)
    except NbguardError as error:
        complain(str(error))
    except BrokenPipeError:
        raise
    except Exception as error:  # the outermost place: whatever went wrong, it was not done
        if os.environ.get("NBGUARD_DEBUG"):
            raise
        complain(f"This could not be done because of an error in nbguard ({type(error).__name__}: {error}).")
    return 2


def _say_problems() -> None:
    """What is wrong with the configuration comes before everything else, and does not mix with the output."""
    from nbguard import settings
    from nbguard.commands.scan import complain

    found = settings.load()
    for problem in found.problems:
        complain(f"{problem} The policy 'strict' holds until that is mended.")
    for note in found.notes:
        complain(note)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nbguard",
        description="Says what loading a model would do before it is loaded, and keeps what you decided about it.",
    )
    parser.add_argument("--version", action="version", version=f"nbguard {nbguard.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _scan_parser(commands)
    _preflight_parser(commands)
    _run_parser(commands)
    _convert_parser(commands)
    _record_parsers(commands)
    return parser


def _run_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="run a script with its loads guarded",
        description="Run a script, or a module, as Python would, with its loads guarded from the first line.",
    )
    run.add_argument("--ask", action="store_true", help="ask in the terminal; without it nobody is asked")
    run.add_argument("-m", dest="module", action="store_true", help="SCRIPT is the name of a module")
    run.add_argument("script", metavar="SCRIPT", help="a Python file")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="for the script")


def _scan_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    scan = commands.add_parser(
        "scan",
        help="report what loading files, folders or Hub repositories would do",
        description="Report what loading files, folders or Hub repositories would do. Nothing of them is run.",
        epilog=_SCAN_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scan.add_argument("targets", nargs="+", metavar="TARGET", help="a file, a folder, or a Hub repository (org/name)")
    scan.add_argument("--format", choices=("text", "json", "html"), default="text", help="default: text")
    scan.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
    scan.add_argument(
        "--fail-on",
        choices=("low", "medium", "high", "critical"),
        default="high",
        help="least severity of a finding that makes the exit code 1 (default: high)",
    )
    scan.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")


def _preflight_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from nbguard.commands.preflight import add_parser

    add_parser(commands)


def _convert_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from nbguard.commands.convert import add_parser

    add_parser(commands)


def _record_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    approve = commands.add_parser(
        "approve",
        help="scan a target and let exactly this content load from now on",
        description="Scan a target and let exactly this content load from now on, without a question, also where"
        " nobody can be asked. What cannot be read to the end cannot be approved.",
    )
    approve.add_argument("target", metavar="TARGET", help="a file, a folder, or a Hub repository (org/name)")
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
    record_options.add_approvals(commands)
    record_options.add_audit(commands)


if __name__ == "__main__":
    sys.exit(main())
