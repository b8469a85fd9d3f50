"""`nbguard scan`: reports on any number of targets, and an exit code for a build.

    nbguard scan model.pt org/name --format json --fail-on medium

Exit code 0: nothing at or above `--fail-on`. 1: something is. 2: a target could not be scanned, or was only found
*unverifiable*. Where both hold, 1: what is known to be bad is never hidden behind what is not known.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Sequence

from nbguard.commands import actions
from nbguard.errors import NbguardError
from nbguard.report.model import Report, Severity, Verdict

QUIET_SECONDS = 0.5
"""A scan that is done sooner shows no progress."""


def run(options: argparse.Namespace) -> int:
    """Scan every target, print or write the reports, return the exit code."""
    reports: list[Report] = []
    failed = False
    _check_output(options.output)
    _import_ahead(options.format)
    for target in options.targets:
        progress = Progress()
        try:
            report = actions.scan_target(target, revision=options.revision, offline=options.offline, progress=progress)
            reports.append(report)
        except NbguardError as error:
            progress.clear()
            complain(str(error))
            failed = True
        else:
            progress.clear()
    _put(_rendered(reports, options.format, to_file=options.output is not None), options.output)
    return exit_code(reports, Severity[options.fail_on.upper()], failed=failed)


def _import_ahead(form: str) -> None:
    """Import what comes after the scan while the worker is still getting ready; the wait is there anyway."""
    for module in ("nbguard.scanners.orchestrate", "nbguard.hooks.advice", "nbguard.approvals.versions"):
        importlib.import_module(module)
    importlib.import_module(
        {"json": "nbguard.report.json_", "html": "nbguard.report.html"}.get(form, "nbguard.report.text")
    )


def exit_code(reports: Sequence[Report], fail_on: Severity, *, failed: bool = False) -> int:
    """0, 1 or 2 as the module says; `failed`: some target could not be scanned."""
    if any(_worst_known(report) >= fail_on for report in reports):
        return 1
    return 2 if failed or any(report.verdict is Verdict.UNVERIFIABLE for report in reports) else 0


def _worst_known(report: Report) -> Severity:
    """The worst severity of what was *found*, as against what could not be read.

    In an unverifiable file, what stands below *critical* says that it could not be read, and for that there is an exit
    code of its own. A report of danger counts as *high* at least.
    """
    unread = {f.path for f in report.files if f.verdict is Verdict.UNVERIFIABLE}
    if not report.files:
        unread.update(f.file for f in report.findings)
    if report.verdict is Verdict.UNVERIFIABLE:
        known = [f.severity for f in report.findings if f.file not in unread or f.severity is Severity.CRITICAL]
    else:
        known = [f.severity for f in report.findings]
    if any(f.verdict is Verdict.DANGER and not f.inert for f in report.files):
        known.append(Severity.HIGH)
    return max(known, default=Severity.INFO)


def _rendered(reports: Sequence[Report], form: str, *, to_file: bool) -> str:
    if form == "json":
        from nbguard.report import json_

        return json_.dumps(reports) + "\n"
    if form == "html":
        from nbguard.report import html

        return html.page(reports)
    from nbguard.report import text

    color = not to_file and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = 100 if to_file else max(60, min(120, shutil.get_terminal_size((100, 24)).columns))
    return "".join(text.render(report, width=width, color=color) + "\n\n" for report in reports)


def _put(text: str, output: str | None) -> None:
    """To standard output, or whole or not at all into a file. Raises ActionError where it cannot be written."""
    if output is None or output == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    data = text.encode("utf-8", "backslashreplace")
    try:
        if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
            with open(output, "wb") as special:  # a pipe or a device: nothing to put in its place
                special.write(data)
            return
        _replace(os.path.realpath(output), data)
    except OSError as error:
        raise _unwritable(output, error) from None


def _check_output(output: str | None) -> None:
    """Raise ActionError now where the report could not be written in the end; a long scan would be for nothing."""
    if output is None or output == "-":
        return
    try:
        if os.path.isdir(output):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
            return  # a pipe or a device; opening one may wait for its reader
        fd, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.realpath(output)), prefix=".nbguard-")
        os.close(fd)
        os.unlink(temporary)
    except OSError as error:
        raise _unwritable(output, error) from None


def _unwritable(output: str, error: OSError) -> actions.ActionError:
    return actions.ActionError(f"The report cannot be written to {output!r}: {error.strerror or 'error'}.")


def _replace(path: str, data: bytes) -> None:
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".nbguard-")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def complain(sentence: str) -> None:
    """One line on standard error, with nothing in it that could drive a terminal."""
    from nbguard.report.escape import terminal

    sys.stderr.write(f"nbguard: {terminal(sentence, 1_000)}\n")
    sys.stderr.flush()


class Progress:
    """A line on a terminal that says how far a long scan is; silent anywhere else."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._last = self._start
        self._shown = False
        self._terminal = sys.stderr.isatty()

    def __call__(self, share: float, what: str) -> None:
        now = time.monotonic()
        if not self._terminal or now - self._start < QUIET_SECONDS or now - self._last < 0.1:
            return
        from nbguard.artifact.names import shortened
        from nbguard.report.escape import terminal

        self._last, self._shown = now, True
        sys.stderr.write(f"\r\x1b[K{max(0.0, min(1.0, share)):4.0%} {terminal(shortened(what, 60), 60)}")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
