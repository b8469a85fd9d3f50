"""The exceptions that nbguard raises.

try:
    torch.load("model.bin")
except nbguard.LoadBlocked as stopped:
    print(stopped.report.verdict)
"""

from __future__ import annotations

import errno
import functools
import linecache
import os
import sys
import sysconfig
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.report.model import Report


class NbguardError(Exception):
    """Base of everything that nbguard raises on purpose."""


class TargetError(NbguardError, OSError):
    """What should be scanned or loaded cannot be found or read. The message is one plain sentence.

    An OSError, because that is what the guarded loaders raise then: code that handles a missing file or repository
    (`except OSError`) works as it did.
    """


class TargetMissing(TargetError, FileNotFoundError):  # noqa: N818 - reads as what happened, like FileNotFoundError
    """There is no such file or folder.

    Attributes:
        errno: `ENOENT`, as of any FileNotFoundError.
        filename: what was asked for, where that is known.
    """

    def __init__(self, message: str, filename: str | None = None) -> None:
        super().__init__(message)
        self.errno = errno.ENOENT
        self.strerror = os.strerror(errno.ENOENT)
        self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[type[TargetMissing], tuple[str, str | None]]:
        return type(self), (str(self), self.filename)


class LoadBlocked(NbguardError):  # noqa: N818 - the public name that people catch; it reads as what happened
    """A load was stopped. Nothing of it has run.

    Attributes:
        report: what the scan found, or None where the load was stopped before one could be made.
    """

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the message and the person's own lines, without the way through nbguard and libraries."""
        return [f"{type(self).__name__}: {self}", *_own_lines(self)]


class ContractViolation(LoadBlocked):
    """A load that was let through tried something that its contract does not hold."""


def _own_lines(error: BaseException) -> list[str]:
    """`  at Cell In[3], line 2: model = torch.load(path)` for every frame that is neither a library's nor nbguard's."""
    lines: list[str] = []
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        source = linecache.getline(name, number).strip()[:200]
        if name.startswith("<frozen") or os.path.realpath(name).startswith(_foreign()):
            continue
        if source.startswith(("get_ipython().run_cell_magic(", "get_ipython().run_line_magic(")):
            continue
        lines.append(f"  at {_shown_name(name)}, line {number}{': ' + source if source else ''}")
    return lines


def _shown_name(name: str) -> str:
    """`Cell In[3]` for a notebook's cell, as IPython itself calls it; else the file."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    compiler = getattr(shell, "compile", None)
    known = getattr(compiler, "format_code_name", None)
    called = known(name) if known is not None else None
    return " ".join(called) if called else name


@functools.cache
def _foreign() -> tuple[str, ...]:
    """Folders of code that is not the person's: the standard library, installed packages, nbguard."""
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    here = os.path.dirname(__file__)
    return tuple(sorted(os.path.realpath(path) + os.sep for path in {*paths, here} if path))
