"""Files that a command writes: whole or not at all, and never over one that is there.

write_new(Path("site.nbguard"), data)
"""

from __future__ import annotations

import os
from pathlib import Path

from nbguard.commands.actions import ActionError


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """A new file, on the disk when this returns. Raises ActionError: it is there already, or cannot be written."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise ActionError(f"{str(path)!r} is there already; nothing was written.") from None
    except OSError as error:
        raise ActionError(f"{str(path)!r} cannot be written: {error.strerror or 'input/output error'}.") from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ActionError(f"{str(path)!r} cannot be written: {error.strerror or 'input/output error'}.") from None
