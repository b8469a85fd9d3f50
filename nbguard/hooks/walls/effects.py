"""The third wall: while a guarded machine runs, no audit event passes that the contract's effects do not hold.

    judge(grant, "os.system", ("id",))      # raises ContractViolation

Reading is no effect; starting programs, writing, deleting, connecting, compiling and running text, and reaching into
functions are. An import of an installed library in the middle of a load may do what imports do: such an import has to
be on the stack, below the machine. Events are those of CPython 3.11 to 3.13 (`Doc/library/audit_events.rst`).
"""

from __future__ import annotations

import _imp
import os
import sys
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from nbguard.hooks import trust
from nbguard.hooks.swap import FILENAME

if TYPE_CHECKING:
    from nbguard.hooks.grants import Grant

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DENIED = (
    "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.startfile", "os.fork", "os.forkpty", "os.kill",
    "os.killpg", "subprocess.", "pty.", "socket.", "ssl.", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
    "os.chmod", "os.chown",
    "os.chflags", "os.lchmod", "os.link", "os.symlink", "os.truncate", "os.utime", "os.setxattr", "os.removexattr",
    "os.lockf", "os.chdir", "os.fchdir", "os.chroot", "os.putenv", "os.unsetenv", "os.add_dll_directory", "shutil.",
    "tempfile.", "code.__new__", "function.__new__", "sys.addaudithook", "sys.setprofile", "sys.settrace",
    "sys.monitoring", "sys.excepthook", "sys.unraisablehook", "builtins.input", "builtins.breakpoint", "webbrowser.",
    "urllib.", "http.", "ftplib.", "smtplib.", "poplib.", "imaplib.", "nntplib.", "telnetlib.", "sqlite3.",
    "ctypes.dlopen", "ctypes.call_function", "ctypes.PyObj",
    "gc.get_objects", "gc.get_referrers", "gc.get_referents", "signal.", "resource.", "syslog.", "fcntl.",
    "mmap.resize", "_thread.start", "setopencodehook", "cpython._PySys_ClearAuditHooks", "cpython.run", "winreg.",
    "_winapi.", "msvcrt.", "marshal.load", "pathlib.Path.rglob",
)  # fmt: skip
_REACHED_FOR = frozenset(
    {"__globals__", "__code__", "__builtins__", "__closure__", "f_globals", "f_locals", "gi_frame"}
)
_SET = frozenset({"__code__", "__defaults__", "__kwdefaults__", "__class__", "__globals__", "__closure__"})
_DEEPEST = 400
"""Frames looked at for an import that is on; a load nested deeper than that in one gets no exemption."""


def judge(grant: Grant, event: str, args: tuple[Any, ...]) -> None:
    """Let an event pass, or raise ContractViolation. Called for every audit event while the machine of `grant` runs."""
    what = _effect(event, args)
    if what is None or not grant.enforced:
        return
    if any(
        event == e or event.startswith(e.rstrip(".*") + ".") or event.startswith(e) for e in grant.contract.effects if e
    ):
        return
    if _imports(event, args, grant) or _maps_its_file(event, args, grant) or _compiled_by_library(event):
        return
    from nbguard.hooks import walk

    raise walk.violation(grant, f"it tried {what}, and its contract holds no such effect.")


def _effect(event: str, args: tuple[Any, ...]) -> str | None:
    """The event as a person would say it, None where it changes nothing."""
    if event == "open":
        path, _mode, flags = args
        if isinstance(flags, int) and flags & _WRITES and path != os.devnull:
            return f"to open {_shown(path)} for writing"
        return None
    if event == "exec":
        if _defines_arguments(args[0]):
            return None
        return None if trust.is_installed(args[0].co_filename) else f"to run code ({_shown(args[0].co_filename)})"
    if event == "compile":
        name = args[1]
        text = os.fsdecode(name) if isinstance(name, str | bytes) else "?"
        return None if trust.is_installed(text) else f"to compile code ({_shown(text)})"
    if event == "object.__getattr__":
        return f"to reach for {args[1]}" if args[1] in _REACHED_FOR else None
    if event in ("object.__setattr__", "object.__delattr__"):
        return f"to change {args[1]}" if args[1] in _SET else None
    if event.startswith(_DENIED):
        return f"{event}({_shown(args[0]) if args else ''})"
    return None


def _compiled_by_library(event: str) -> bool:
    """Compiling runs nothing yet: a library's own code may, since running what it made is an event of its own."""
    return event == "compile" and trust.is_installed(_nearest()) and not _nearest().startswith(_PACKAGE)


def _nearest() -> str:
    """File of the code that raised the event."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in (__file__, _AUDIT, FILENAME):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else "<none>"


def _defines_arguments(code: CodeType) -> bool:
    """Whether code is what scipy's distributions run when they get their state, and no more: three functions that hand
    their arguments on. Told by what the code can reach, not by where it comes from."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return (
        code.co_name == "<module>"
        and bool(inner)
        and {*code.co_names} <= _SCIPY
        and all(c.co_name in _SCIPY and {*c.co_names} <= {"_argcheck_rvs"} for c in inner)
    )


_SCIPY = frozenset({"_parse_args", "_parse_args_rvs", "_parse_args_stats"})


def _maps_its_file(event: str, args: tuple[Any, ...], grant: Grant) -> bool:
    """Whether the file being loaded is opened for a writable memory map, which the caller asked for."""
    if event != "open" or grant.writable is None or not isinstance(args[0], str | os.PathLike):
        return False
    return not args[2] & (os.O_TRUNC | os.O_CREAT) and os.path.realpath(args[0]) == grant.writable


def _imports(event: str, args: tuple[Any, ...], grant: Grant) -> bool:
    """Whether the event comes from importing an installed module, or one of the person's own in the contract."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename in (__file__, _AUDIT, FILENAME):
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        return _of_extension(frame) or _of_import_system(frame, event, args, grant)
    below: FrameType | None = None
    for _ in range(_DEEPEST):
        if frame is None or frame.f_code.co_filename.startswith(_HOOKS):
            return False
        code = frame.f_code
        if (
            below is not None
            and code.co_filename.startswith("<frozen importlib")
            and below.f_code.co_name == "<module>"
        ):
            return _may_import(below.f_code.co_filename, grant)
        below, frame = frame, frame.f_back
    return False


def _of_extension(frame: FrameType) -> bool:
    """Whether importlib is in the middle of an installed extension module's own initialisation, which runs in C and
    leaves no frame of its own (Cython runs snippets of text there)."""
    if frame.f_code.co_name != "_call_with_frames_removed":
        return False
    function, given = frame.f_locals.get("f"), frame.f_locals.get("args") or (None,)
    if function is _imp.create_dynamic:
        origin = getattr(given[0], "origin", None)
    elif function is _imp.exec_dynamic:
        origin = getattr(getattr(given[0], "__spec__", None), "origin", None)
    else:
        return False
    return isinstance(origin, str) and trust.is_installed(origin)


def _of_import_system(frame: FrameType, event: str, args: tuple[Any, ...], grant: Grant) -> bool:
    """What importlib itself does: it reads and runs modules, and writes their byte code beside them."""
    if event == "exec":
        return _may_import(args[0].co_filename, grant)
    if event == "compile":
        return _may_import(os.fsdecode(args[1]), grant)
    if event in ("open", "os.rename", "os.mkdir", "os.remove"):
        named = args[0]
        if isinstance(named, int) and frame.f_code.co_name == "_write_atomic":
            named = frame.f_locals.get("path")  # it opened that file by its name a line before
        path = os.fsdecode(named) if isinstance(named, str | bytes) else ""
        folder = os.path.basename(os.path.dirname(path))
        return "__pycache__" in (folder, os.path.basename(path)) or bool(
            sys.pycache_prefix and path.startswith(sys.pycache_prefix)
        )
    return event == "marshal.loads"


def _may_import(filename: str, grant: Grant) -> bool:
    if trust.is_installed(filename):
        return True
    real = os.path.realpath(filename)
    for name in grant.contract.local_modules if grant.accepted_by_person else ():
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str) and os.path.realpath(file) == real:
            return True
    return False


def _shown(value: object) -> str:
    return ascii(value)[:120]


_AUDIT = os.path.join(os.path.dirname(__file__), "audit.py")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep
_HOOKS = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""The nearest frame of these is the edge of the machine: an import below it has nothing to do with the load."""
