"""What a download outside of any load brought: scanned and noted in the audit log, and never asked about.

    look("/cache/models--org--name/snapshots/…/model.bin", {"repo_id": "org/name", …}, note)

Nothing has been loaded yet. A load of it is stopped and asked about as any other; what is dangerous is told at once to
the person who fetched it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbguard.artifact.folders import names_below
from nbguard.artifact.sources import Opened, open_files
from nbguard.errors import TargetError
from nbguard.hooks import walk
from nbguard.hooks.walls import scope
from nbguard.report.model import Report, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

WORST = 20
"""Files that are not safe and are named in the audit log."""


def look(place: object, given: Mapping[str, Any], note: Mapping[str, Any]) -> None:
    """Scan what lies at `place` now. Never raises for what is found, or for what cannot be read.

    Args:
        place: what the download gave back: a path; anything else (a dry run's list) is no file.
        given: its arguments, by name.
        note: what the audit log says of it already.
    """
    if not isinstance(place, str | os.PathLike):
        return
    with scope.outside():
        try:
            with _opened(os.fspath(place), given) as opened:
                report = _scanned(opened, note)
        except TargetError as error:
            walk.note("hub.downloaded", **note, verdict="unverifiable", why=str(error)[:300])
            return
    bad = [f for f in report.files if f.verdict is not Verdict.SAFE and not f.inert]
    walk.note(
        "hub.downloaded",
        **note,
        verdict=report.verdict.word,
        commit=report.artifact.commit,
        artifact=report.artifact.digest,
        found={f.path[:300]: f.verdict.word for f in bad[:WORST]},
    )
    if note.get("person") and report.verdict is Verdict.DANGER:
        _tell(report)


def _opened(place: str, given: Mapping[str, Any]) -> Opened:
    """The file, or those of the folder that the call asked for."""
    target = str(given.get("repo_id"))[:300]
    if not os.path.isdir(place):
        root, name = os.path.split(place)
        names: Iterable[str] = (name,)
    else:
        from huggingface_hub.utils import filter_repo_objects

        root = place
        names = filter_repo_objects(
            names_below(os.path.realpath(place)),
            allow_patterns=given.get("allow_patterns"),
            ignore_patterns=given.get("ignore_patterns"),
        )
    opened = open_files(root, sorted(names), target=target, kind="hub", commit=_commit(place))
    opened.provenance["source"] = "downloaded"
    return opened


def _commit(place: str) -> str | None:
    """The commit, where the cache's own layout says so."""
    from nbguard.artifact.hub_listing import COMMIT

    parts = os.path.abspath(place).split(os.sep)
    at = len(parts) - 1 - parts[::-1].index("snapshots") if "snapshots" in parts[:-1] else -1
    return parts[at + 1] if at >= 0 and COMMIT.fullmatch(parts[at + 1]) else None


def _scanned(opened: Opened, note: Mapping[str, Any]) -> Report:
    from nbguard.artifact.model import LoadRequest
    from nbguard.provenance import with_name

    request = LoadRequest(str(note["loader"]), opened.target, "hub", in_person_code=bool(note.get("person")))
    return with_name(walk.scan(request, opened))


def _tell(report: Report) -> None:
    """One line on standard error; no question."""
    from nbguard.report.escape import terminal

    why = report.summary[0] if report.summary else "Loading it would do something harmful or unexplained."
    sys.stderr.write(
        f"nbguard: {terminal(report.target, 200)} was downloaded and is dangerous: {terminal(why, 300)}"
        " Nothing of it has been loaded.\n"
    )
