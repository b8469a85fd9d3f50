"""What a person's word for a target means: a path that exists, or a repository on the Hub.

with open_target("hf://org/name@main") as opened: ...
"""

from __future__ import annotations

import os
import re

from nbguard.artifact.names import shown
from nbguard.artifact.sources import Opened, open_path
from nbguard.errors import TargetMissing

_REPOSITORY = re.compile(
    r"(?:hf://)?(?P<id>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}|[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w./-]{1,100}))?\Z"
)


def open_target(target: str | os.PathLike[str], revision: str | None = None) -> Opened:
    """Open it. A path that exists wins over a repository of the same name, unless it starts with `hf://`.

    Raises:
        TargetError: neither is there. One plain sentence.
    """
    name = os.fspath(target)
    hub = name.startswith("hf://")
    if not hub and ("\0" in name or os.path.lexists(os.path.expanduser(name))):
        return open_path(os.path.expanduser(name), target=shown(name))
    match = _REPOSITORY.match(name)
    looks_local = name.startswith((".", "/", "~")) or os.sep * 2 in name or name.count("/") != 1
    if match is None or (looks_local and not hub):
        raise TargetMissing(f"There is no file or folder {shown(name)}.")
    from nbguard.artifact.hub import open_repo

    return open_repo(match["id"], revision=revision or match["revision"])
