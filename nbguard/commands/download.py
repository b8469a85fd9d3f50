"""`nbguard download`: a repository through the quarantine into the Hub's cache, or into a folder.

nbguard download org/name@main
nbguard download org/name --to models/name --format json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from nbguard.report.escape import terminal


def run(options: argparse.Namespace) -> int:
    """Download, and say each step. 0: promoted, 1: refused. Raises TargetError where it could not be done."""
    from nbguard.commands.scan import Progress, complain
    from nbguard.downloading import DownloadRefused, download
    from nbguard.gate import faces

    as_json = options.format == "json"
    if not as_json and sys.stdin.isatty() and sys.stdout.isatty():  # somebody typed this, and can be asked
        os.environ.setdefault(faces.FACE_VARIABLE, "text")
    progress = Progress()

    def say(text: str) -> None:
        progress.clear()
        print(text, flush=True)

    try:
        done = download(options.target, **_arguments(options), say=None if as_json else say, progress=progress)
    except DownloadRefused as refused:
        progress.clear()
        if as_json:
            report = refused.report.to_json() if refused.report is not None else None
            json.dump({"refused": str(refused), "quarantine": refused.place, "report": report}, sys.stdout, indent=1)
            print()
        else:
            sys.stderr.write(f"nbguard: {terminal(str(refused), 4_000, block=True)}\n")
        return 1
    except KeyboardInterrupt as stopped:
        progress.clear()
        complain(str(stopped) or "interrupted; nothing was promoted.")
        return 130
    finally:
        progress.clear()
    if as_json:
        json.dump(done.to_json(), sys.stdout, indent=1)
        print()
    return 1 if options.dry_run and not done.later and done.report.verdict.word in ("unverifiable", "danger") else 0


def in_notebook(options: argparse.Namespace) -> None:
    """The same in a cell, with its bar and its questions. Raises DownloadRefused or TargetError."""
    from nbguard.downloading import download

    as_json = options.format == "json"
    done = download(options.target, **_arguments(options), say=None if as_json else print)
    if as_json:
        print(json.dumps(done.to_json(), indent=1))


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "revision": options.revision,
        "to": options.to,
        "include": options.include,
        "exclude": options.exclude,
        "pickles": options.pickles,
        "code": options.code,
        "accept": True if options.yes else None,
        "dry_run": options.dry_run,
    }
