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
    kind = TargetMissing if error.errno in (errno.ENOENT, errno.ENOTDIR) else TargetError
    return kind(sentence(error, label))
