"""`nbguard run`: a script, or a module, with its loads guarded from its first line.

    nbguard run train.py --epochs 3         # as `python train.py --epochs 3`
    nbguard run --ask -m package.train      # as `python -m package.train`; questions are asked in the terminal

Without `--ask` nobody is asked, even at a terminal: what policy and approvals do not allow is refused. Processes that
the script forks are guarded too; interpreters that it starts anew are not.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_OWN = os.path.realpath(os.path.dirname(os.path.dirname(__file__))) + os.sep


def run(options: argparse.Namespace) -> int:
    """The script's exit code, as Python would give it. Raises ActionError where there is no such script."""
    from nbguard import hooks
    from nbguard.commands.actions import ActionError
    from nbguard.gate.faces import FACE_VARIABLE
    from nbguard.report.escape import terminal

    if not options.module and not os.path.isfile(options.script):
        raise ActionError(f"There is no script {terminal(options.script, 200)}.")
    if options.ask:
        os.environ[FACE_VARIABLE] = "text"
    hooks.install()
    try:
        if options.module:
            sys.argv[:] = [options.script, *options.arguments]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(options.script, run_name="__main__", alter_sys=True)
        else:
            sys.argv[:] = [options.script, *options.arguments]
            sys.path.insert(0, os.path.dirname(os.path.abspath(options.script)))
            runpy.run_path(options.script, run_name="__main__")
    except SystemExit as ended:
        return _code(ended.code)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the script's own, whatever it is, shown as Python shows it
        sys.stdout.flush()
        traceback.print_exception(type(error), error, _from_the_script(error.__traceback__))
        return 1
    return 0


def _code(given: object) -> int:
    """What Python makes of the argument of `sys.exit`."""
    if given is None or isinstance(given, int):
        return given or 0
    print(given, file=sys.stderr)
    return 1


def _from_the_script(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames that started the script; all of it where none is left."""
    found = trace
    while found is not None:
        name = found.tb_frame.f_code.co_filename
        if name not in ("<frozen runpy>", runpy.__file__) and not os.path.realpath(name).startswith(_OWN):
            return found
        found = found.tb_next
    return trace
