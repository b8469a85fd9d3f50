"""Whether what is about to be loaded is the person's own work: written by their own guarded kernels, byte for byte.

    found = find(report, opened)
    found.sentence          # "Written by you on 2026-11-23 at 10:04 UTC with torch.save."
    find(other, opened)     # None: somebody else's, or unknown

Who wrote it is all that is answered here. The report was made, and the load is held to its contract, as ever. It is
none of the person's work, as far as a question goes, where

- one of the files that would be opened has no record, or only one of a saver that writes other things (the raw bytes
  of an array that numpy wrote can be another loader's archive);
- it uses what is known to be harmful. Kernels hardly ever write that on purpose: it takes an object whose class is
  hostile, so that the file may be how something spreads, and one question more costs little. Functions and classes
  that cloudpickle and dill write into their pickles by value are how these work, and meant;
- a name in it leads to a file that was put in front of a library, or to a module of the person's that this kernel has
  not imported: the file could have been put there since.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.hooks.savers import ledger, memory
from nbguard.hooks.savers.entry import FAMILIES, Family
from nbguard.hooks.walls.names import harmful
from nbguard.report.model import FileReport, Report, Severity, Verdict

if TYPE_CHECKING:
    from nbguard.approvals.own import OwnWork, Written
    from nbguard.artifact.sources import Opened, OpenedFile

EXPLAINED = frozenset({"pickle.gadget", "pickle.unexplained-call", "pickle.unexplained-class"})
"""Rules whose critical findings are judged here by the globals that they are about; every other critical one asks."""


@dataclass(frozen=True)
class Own:
    """Own work, and when it was written."""

    saver: str
    written: float | None
    """Seconds since the epoch; None where it is still in this process's memory."""

    @property
    def sentence(self) -> str:
        if self.written is None:
            return "Written by you in this session."
        moment = datetime.datetime.fromtimestamp(self.written, datetime.UTC)
        return f"Written by you on {moment:%Y-%m-%d at %H:%M} UTC with {self.saver}."


def find(report: Report, opened: Opened) -> Own | None:
    """Own work, if every file that this load would open is. Never raises: records that cannot be read vouch for
    nothing, which is logged once."""
    if report.verdict is Verdict.UNVERIFIABLE or not wanted():
        return None
    from nbguard.approvals.model import RecordError

    try:
        return _find(report, opened)
    except RecordError as error:
        ledger.problem(str(error))
        return None


def wanted() -> bool:
    """Whether the policy in force lets own work load without a question. Read anew every second: round trips through
    memory ask this by the thousand."""
    from nbguard.hooks.guarding import policy_name

    key = (policy_name.get(), *(os.environ.get(name) for name in _DECIDING))
    if key != _last.key or time.monotonic() > _last.until:
        from nbguard.hooks import walk

        _last.key, _last.until, _last.wanted = key, time.monotonic() + 1.0, walk.policy_in_force().own_work == "load"
    return _last.wanted


@dataclass
class _Last:
    """What `wanted` found out last."""

    key: tuple[str | None, ...] = ()
    until: float = 0.0
    wanted: bool = False


_last = _Last()
_DECIDING = ("NBGUARD_POLICY", "NBGUARD_CONFIG")


def _find(report: Report, opened: Opened) -> Own | None:
    loaded = [f for f in report.files if not f.inert]
    if not loaded or not _modules_known(report):
        return None
    from nbguard.approvals.own import OwnWork
    from nbguard.artifact.remote_repo import RemoteFile

    work = OwnWork()
    ledger.settle()
    newest: Own | None = None
    families: set[str] = set()
    for file in loaded:
        handle = opened.file(file.path)
        if handle is None or (isinstance(handle, RemoteFile) and handle.ranged):
            return None
        found = next((o for o in _candidates(work, report, file, handle) if _fits(report, file, o[0])), None)
        if found is None:
            return None
        families.add(found[0])
        if newest is None or (found[1].written or 0.0) > (newest.written or 0.0):
            newest = found[1]
    return newest if not _harmful(report, families) else None


def _candidates(work: OwnWork, report: Report, file: FileReport, handle: OpenedFile) -> Iterator[tuple[str, Own]]:
    """(family, what is known) of everything that was written with the bytes of this file."""
    if handle.identity is None:
        digest = bytes.fromhex(file.sha256 or handle.sha256())
        yield from ((family, Own("", None)) for family in FAMILIES if memory.holds_digest(family, digest))
    if not work.there():
        return
    yield from ((w.family, _own(w)) for w in _as_a_whole(work, file, handle) if w.piece == "file")
    yield from _piece_by_piece(work, report, file)


def _as_a_whole(work: OwnWork, file: FileReport, handle: OpenedFile) -> tuple[Written, ...]:
    if file.sha256:
        return work.find(file.sha256, file.size)
    if handle.identity is not None and handle.unchanged() and ledger.private(os.fstat(handle.fd)):
        known = work.at(handle.identity.key(), file.size)
        if known:
            return known
    return work.find(handle.sha256(), file.size) if work.any_of_size(file.size) else ()


def _piece_by_piece(work: OwnWork, report: Report, file: FileReport) -> Iterator[tuple[str, Own]]:
    """Pickle programs that were dumped one after the other, and nothing else between or behind them."""
    programs = [p for p in report.contract.programs if p.file == file.path and p.container != "nested"]
    if not programs or any(p.member or p.ranges or p.compression for p in programs):
        return
    if sum(p.length for p in programs) != file.size:
        return
    found = [next((w for w in work.find(p.sha256, p.length) if w.piece == "program"), None) for p in programs]
    known = [w for w in found if w is not None]
    if len(known) == len(programs):
        newest = max(known, key=lambda w: w.written)
        families = {w.family for w in known}
        yield ("by-value" if "by-value" in families else newest.family), _own(newest)


def _own(written: Written) -> Own:
    return Own(written.saver, written.written)


def _fits(report: Report, file: FileReport, family: str) -> bool:
    """Whether all that this file would run is of the kinds that savers of this family write."""
    kinds: Family = FAMILIES[family] if family in FAMILIES else Family()
    contract = report.contract
    programs = {p.container for p in contract.programs if p.file == file.path}
    code = {c.kind for c in (*contract.code, *contract.native) if c.path.partition("!")[0] == file.path}
    return programs <= kinds.containers and ("*" in kinds.code or code <= kinds.code)


def _modules_known(report: Report) -> bool:
    """Whether the person's own modules that it names are imported already, so that loading runs no further file."""
    return all(module in sys.modules for module in report.contract.local_modules)


def _harmful(report: Report, families: set[str]) -> bool:
    if any(f.severity >= Severity.CRITICAL and f.rule not in EXPLAINED for f in report.findings):
        return True
    machinery = tuple(m for family in families for m in FAMILIES[family].machinery)
    return any(g.level == "gadget" and harmful(g.module, g.name, machinery) for g in report.contract.globals)
