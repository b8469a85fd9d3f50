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
from nbguard.commands import hub_options, options, record_options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2 where it could not be done, 130 where it was interrupted."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a terminal in another encoding shows escapes and does not end in an error
            reconfigure(errors="backslashreplace")
    try:
        arguments = sys.argv[1:] if argv is None else argv
        _prewarm(arguments)
        return _run(_parser(arguments).parse_args(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("nbguard: interrupted.\n")
        return 130
    except BrokenPipeError:  # the reader of our output went away; Python must not complain about it when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2


def _prewarm(arguments: Sequence[str]) -> None:
    """Start the scanning worker first of all: it gets ready while the rest is imported."""
    if arguments and arguments[0] in ("scan", "approve", "preflight", "lock") and not {"-h", "--help"} & set(arguments):
        from nbguard.scanners.pool import POOL

        POOL.prewarm()


def _run(chosen: argparse.Namespace) -> int:
    from nbguard.commands.scan import complain
    from nbguard.errors import NbguardError

    _say_problems()
    try:
        match chosen.command:
            case "scan":
                from nbguard.commands import scan

                return scan.run(chosen)
            case "preflight":
                from nbguard.commands import preflight

                return preflight.command(chosen)
            case "run":
                from nbguard.commands import run

                return run.run(chosen)
            case "convert":
                from nbguard.commands import convert

                return convert.run(chosen)
            case "download":
                from nbguard.commands import download

                return download.run(chosen)
            case "publisher":
                from nbguard.commands import publisher

                return publisher.run(chosen)
            case "verify":
                from nbguard.commands import verify

                return verify.run(chosen)
            case "sign" | "checksums":
                from nbguard.commands import sign

                return sign.run(chosen) if chosen.command == "sign" else sign.checksums(chosen)
            case "lock":
                from nbguard.commands import lock

                return lock.run(chosen)
            case command:
                from nbguard.commands import approvals, audit, records

                handlers = {
                    "approve": records.approve,
                    "revoke": records.revoke,
                    "approvals": approvals.run,
                    "audit": audit.run,
                }
                return handlers[command](chosen)
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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands, or of the one that is named, since making a parser takes longer than using it."""
    parser = argparse.ArgumentParser(
        prog="nbguard",
        description="Says what loading a model would do before it is loaded, and keeps what you decided about it.",
    )
    parser.add_argument("--version", action="version", version=f"nbguard {nbguard.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = _COMMANDS.get(arguments[0]) if arguments else None
    for add in (named,) if named else dict.fromkeys(_COMMANDS.values()):
        add(commands)
    return parser


_COMMANDS = {
    "scan": options.add_scan,
    "preflight": options.add_preflight,
    "run": options.add_run,
    "convert": options.add_convert,
    "download": hub_options.add_download,
    "publisher": options.add_publisher,
    "verify": hub_options.add_verify,
    "checksums": hub_options.add_checksums,
    "sign": hub_options.add_sign,
    "lock": hub_options.add_lock,
    "approve": options.add_records,
    "revoke": options.add_records,
    "approvals": record_options.add_approvals,
    "audit": record_options.add_audit,
}


if __name__ == "__main__":
    sys.exit(main())
