"""`%safemodel` and `%%safemodel`.

    %safemodel scan org/name          # what would loading this do?
    %%safemodel                       # look through the cell, ask once for all of its loads, then run it
    tokenizer = AutoTokenizer.from_pretrained("org/name")
    model = AutoModel.from_pretrained("org/name")

Thin: what the subcommands do is in `nbguard.commands`, how a report looks in `nbguard.report`.
"""

# IPython is not typed for mypy here, so its decorators are not either.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

if TYPE_CHECKING:
    import argparse

    from nbguard.report.model import Report

HIDDEN = "==SUPPRESS=="
"""argparse.SUPPRESS: for an option that `nbguard.commands.awaiting` writes, and no person."""

COMMANDS = ("scan", "preflight", "status", "on", "off", "report", "approve", "revoke", "approvals", "audit", "verify",
            "lock", "download")  # fmt: skip


@magics_class
class SafeModelMagics(Magics):  # type: ignore[misc]
    """The magics of one shell."""

    @magic_arguments("%safemodel")
    @argument("command", nargs="?", choices=COMMANDS, help="what to do; without it, this help is printed")
    @argument(
        "what",
        nargs="*",
        help="scan, approve: a file, a folder or a Hub repository (org/name); report: 1 for the last one,"
        " 2 for the one before it; preflight: a notebook, without it this one; revoke: an approval's id, target or"
        " digest",
    )
    @argument("--revision", help="branch, tag or commit of a Hub repository")
    @argument(
        "--reason", default="", help="approve, revoke, off: why, for whoever reads the approvals or the audit log"
    )
    @argument("--expires", help="approve: 30d, 12h, 4w, 2027-01-31 or never (default: as the policy says)")
    @argument(
        "--i-accept-danger", action="store_true", help="approve even what is dangerous, where the policy counts that"
    )
    @argument("--ask-only", action="store_true", help=HIDDEN)
    @no_var_expand
    @line_cell_magic
    def safemodel(self, line: str, cell: str | None = None) -> None:
        """Say what loading a model would do, and keep what was decided about it.

        On a line: one of the commands below. As %%safemodel at the top of a cell: every load that the cell can name is
        scanned, you are asked once for all of them, and the cell runs only if you accept. What the cell loads beyond
        that is asked about when it happens.

        Examples::

            %safemodel scan model.pt
            %safemodel scan org/name --revision main
            %safemodel preflight
            %safemodel status
            %safemodel off --reason "comparing with another scanner"
            %safemodel report 2
            %safemodel approve model.pt --expires 30d --reason "our own trainer"
            %safemodel revoke 1f2e3d4c --reason "superseded"
            %safemodel approvals --target "org/*" --expired
            %safemodel audit verify
            %safemodel verify org/name
            %safemodel download org/name@main --dry-run
            %safemodel lock
        """
        if cell is None and line.split()[:1] == ["lock"]:
            _in_one_sentence(lambda: _lock(self.shell, self._words(line)[1:]))
            return
        if cell is None and line.split()[:1] in (["approvals"], ["audit"], ["verify"], ["download"]):
            _in_one_sentence(lambda: _records(self._words(line)))
            return
        options = self._parsed(line)
        if cell is not None:
            if options.command is not None:
                raise UsageError("%%safemodel takes no command: it scans what the cell below it loads, then runs it.")
            _run_cell(self.shell, cell, ask_only=options.ask_only)
            return
        if options.command is None:
            print(self.safemodel.parser.format_help().removeprefix("::\n\n"))
            return
        _in_one_sentence(lambda: getattr(self, f"_{options.command}")(options))

    def _parsed(self, line: str) -> argparse.Namespace:
        parsed: argparse.Namespace = self.safemodel.parser.parse_intermixed_args(self._words(line))
        return parsed

    @staticmethod
    def _words(line: str) -> list[str]:
        """The words of a line; `$name` and `{name}` stand for nothing here, because paths may hold them."""
        try:
            return shlex.split(line)
        except ValueError as error:
            raise UsageError(f"%safemodel: {str(error).lower()}.") from None

    def _scan(self, options: argparse.Namespace) -> None:
        from nbguard import history
        from nbguard.commands import actions
        from nbguard.gate import progress

        target = _one(options, "a file, a folder or a Hub repository")
        with progress(f"Looking into {target}") as moved:
            report = actions.scan_target(target, revision=options.revision, progress=moved)
        history.note(report, "scanned")
        show(report)

    def _preflight(self, options: argparse.Namespace) -> None:
        from nbguard.commands import preflight

        if len(options.what) > 1:
            raise UsageError("%safemodel preflight takes one notebook, or none for the one that runs here.")
        preflight.run(self.shell, options.what[0] if options.what else None)

    def _status(self, options: argparse.Namespace) -> None:
        from nbguard.commands import status

        status.show(self.shell)

    def _on(self, options: argparse.Namespace) -> None:
        from nbguard.commands import switch

        print(switch.on())

    def _off(self, options: argparse.Namespace) -> None:
        from nbguard.commands import switch

        print(switch.off(options.reason))

    def _report(self, options: argparse.Namespace) -> None:
        from nbguard import history

        words = options.what or ["1"]
        if len(words) != 1 or not words[0].isdecimal() or int(words[0]) < 1:
            raise UsageError("%safemodel report takes one number: 1 for the last report, 2 for the one before it.")
        seen = history.recent(int(words[0]))
        if seen is None:
            count = len(history.all_seen())
            raise UsageError(f"This session has {count} report{'' if count == 1 else 's'}.")
        show(seen.report)

    def _approve(self, options: argparse.Namespace) -> None:
        from nbguard.commands import actions, records
        from nbguard.gate import progress
        from nbguard.policy import UNSAID

        target = _one(options, "a file, a folder or a Hub repository")
        expires = UNSAID if options.expires is None else actions.expiry(options.expires)
        with progress(f"Looking into {target}") as moved:
            given, _ = actions.approve(
                target,
                revision=options.revision,
                reason=options.reason,
                expires=expires,
                accept_danger=options.i_accept_danger,
                show=show,
                progress=moved,
            )
        print(f"Approved as {given.id}, {records.until(given)}. Take it back with: %safemodel revoke {given.id}")

    def _revoke(self, options: argparse.Namespace) -> None:
        from nbguard.commands import actions
        from nbguard.report.escape import terminal

        for approval in actions.revoke(_one(options, "an approval's id, target or digest"), options.reason):
            print(f"Revoked {approval.id}: {terminal(approval.target)}")


def show(report: Report) -> None:
    """The whole report as HTML and as text, whichever the front-end takes; in a frame at a terminal."""
    from IPython.display import display

    from nbguard.gate import faces
    from nbguard.report import html, text

    if faces.kernel() is None and sys.stdout.isatty():
        from nbguard.gate.terminal import print_report

        print_report(report, title="nbguard")
        return
    display({"text/html": html.render(report), "text/plain": text.render(report)}, raw=True)


def register(shell: Any) -> None:
    """Put the magics and their completion into this shell."""
    shell.register_magics(SafeModelMagics(shell))
    from nbguard.commands import awaiting
    from nbguard.completion import add
    from nbguard.gate import turns

    add(shell)
    awaiting.add(shell)
    turns.watch(shell)


def unregister(shell: Any) -> None:
    """Take both out again."""
    for kind in ("line", "cell"):
        found = shell.magics_manager.magics[kind].get("safemodel")
        if isinstance(getattr(found, "__self__", None), SafeModelMagics):
            del shell.magics_manager.magics[kind]["safemodel"]
    shell.magics_manager.registry.pop(SafeModelMagics.__name__, None)
    from nbguard.commands import awaiting
    from nbguard.completion import remove
    from nbguard.gate import turns

    remove(shell)
    awaiting.remove(shell)
    turns.unwatch(shell)


def switch_off(reason: str) -> None:
    """Take the guard away, or raise UsageError with the sentence that says why not."""
    from nbguard.commands import switch

    _in_one_sentence(lambda: switch.off(reason))


def _run_cell(shell: Any, cell: str, *, ask_only: bool = False) -> None:
    """A refusal stays the exception that it is, as in any cell; only what cannot be done at all is a sentence."""
    __tracebackhide__ = True
    from nbguard.commands import cells
    from nbguard.commands.actions import ActionError

    try:
        (cells.begin if ask_only else cells.run)(shell, cell)
    except ActionError as error:
        raise UsageError(str(error)) from None


def _in_one_sentence(act: Callable[[], object]) -> None:
    """Run `act`; what goes wrong on purpose is a sentence, not a traceback through nbguard."""
    from nbguard.errors import NbguardError

    try:
        act()
    except NbguardError as error:
        from nbguard.report.escape import terminal

        raise UsageError(terminal(str(error), 1_000, block=True)) from None


def _records(words: list[str]) -> None:
    """`%safemodel approvals …`, `audit`, `verify` and `download …`, with the options of the command line."""
    import argparse

    from nbguard.commands import approvals, audit, download, hub_options, record_options, verify

    fill, run = {
        "audit": (record_options.fill_audit, audit.run),
        "approvals": (record_options.fill_approvals, approvals.run),
        "verify": (hub_options.fill_verify, verify.show),
        "download": (hub_options.fill_download, download.in_notebook),
    }[words[0]]
    parser = argparse.ArgumentParser(prog=f"%safemodel {words[0]}")
    fill(parser)
    try:
        options = parser.parse_args(words[1:])
    except SystemExit as ended:
        if ended.code:
            raise UsageError(f"See '%safemodel {words[0]} --help'.") from None
        return
    run(options)


def _lock(shell: Any, words: list[str]) -> None:
    """`%safemodel lock …`, with the options of the command line."""
    import argparse

    from nbguard.commands import hub_options, lock_notebook

    parser = argparse.ArgumentParser(prog="%safemodel lock")
    hub_options.fill_lock(parser)
    try:
        options = parser.parse_args(words)
    except SystemExit as ended:
        if ended.code:
            raise UsageError("See '%safemodel lock --help'.") from None
        return
    lock_notebook.run(shell, options)


def _one(options: argparse.Namespace, what: str) -> str:
    if len(options.what) != 1:
        raise UsageError(f"%safemodel {options.command} takes {what}; quote it where there are blanks in it.")
    word: str = options.what[0]
    return word


__all__ = ["SafeModelMagics", "register", "show", "switch_off", "unregister"]

if sys.flags.optimize >= 2:  # -OO strips docstrings, which hold what `%safemodel?` shows
    SafeModelMagics.safemodel.__doc__ = "Say what loading a model would do, and keep what was decided about it."
