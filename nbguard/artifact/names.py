"""File names and file errors as text for people.

shown("mod\udcffel.pt")    # "mod\\xffel.pt"
"""

from __future__ import annotations

import errno
import os
import re

from nbguard.errors import TargetError, TargetMissing

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def shown(name: str) -> str:
    """`name` as text that can be stored and sent: bytes that are no UTF-8, and control characters, become `\\xNN`."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def shortened(name: str, most: int) -> str:
    """At most `most` characters of it, with what is in the middle left out: its end says what kind of file it is."""
    if len(name) <= most:
        return name
    tail = max(0, most - 1) * 2 // 3
    return name[: max(0, most - 1 - tail)] + "…" + name[len(name) - tail :]


def sentence(error: OSError, label: str) -> str:
    """One plain sentence for a file that cannot be opened; `label` is what to call it."""
    known = {
        errno.ENOENT: f"There is no file or folder {label}.",
        errno.ENOTDIR: f"There is no file or folder {label}.",
        errno.EACCES: f"{label} cannot be read: permission denied.",
        errno.EPERM: f"{label} cannot be read: permission denied.",
        errno.ELOOP: f"{label} is a symbolic link that leads in a circle or was put there meanwhile.",
        errno.ENXIO: f"{label} is a socket or a device, not a file.",
        errno.ENAMETOOLONG: "The path is too long to name a file.",
        errno.EMFILE: f"{label} cannot be opened: too many files are open in this process.",
    }
    return known.get(error.errno or 0, f"{label} cannot be read: {(error.strerror or 'unknown error').lower()}.")


def problem(error: OSError, label: str) -> TargetError:
    """The error to raise for it."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return TargetMissing(sentence(error, label), label)
    return TargetError(sentence(error, label))


def no_repository(name: str) -> TargetError:
    """The error for what is neither there nor has a repository's name: most often a path that was misspelt."""
    as_path = (
        name.startswith((".", "/", "~")) or name.count("/") > 1 or os.path.isdir(os.path.dirname(name.rstrip("/")))
    )
    if as_path and "\0" not in name:
        return TargetMissing(f"There is no folder {shown(name)[:400]}.", name)
    return TargetError(f"{name[:200]!r} is not the name of a repository; it should look like org/name.")
