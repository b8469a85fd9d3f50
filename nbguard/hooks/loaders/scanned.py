"""Which of the scanned files a call means, for loaders that are handed bytes or a handle by their own `prepare`.

    data = scanned_file(call, grant).read()

A load within another one is granted with all the files of that one; the call names one of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nbguard.hooks import walk
from nbguard.hooks.loaders.entry import Call

if TYPE_CHECKING:
    from nbguard.artifact.sources import OpenedFile
    from nbguard.hooks.grants import Grant


def scanned_file(call: Call, grant: Grant) -> OpenedFile:
    """The handle of the file that `call` was given. Raises ContractViolation where the grant holds no such file."""
    files = grant.opened.files
    if len(files) == 1:
        return files[0]
    if isinstance(call.given, str | bytes | os.PathLike):
        try:
            there = os.stat(call.given)
        except (OSError, ValueError):
            there = None
        for file in files if there is not None else ():
            held = os.fstat(file.fd)
            if there is not None and (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
                return file
    raise walk.violation(grant, "it loads a file that is not among those that were scanned.")
