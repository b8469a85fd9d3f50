"""Files of `dbm`, in which Python's shelves keep pickles: those that are found in them are judged.

facts = SCANNER.scan(job)

Which bytes are values stands in a file beside (`dbm.dumb`) or in tables that are not followed here, so that a shelf is
never safe as a file. When it is opened through `shelve`, each value is looked at as the pickle that it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbguard.artifact.model import NotScanned
from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners.base import Format, Job, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.streams import run

BLOCK = 512
"""`dbm.dumb._BLOCKSIZE`: every value begins at a multiple of it."""
MAX_SIZE = 256 << 20
MAX_TRIED = 4_000
_LENGTH = 1 << 20
"""Bytes from the start of what may be a pickle."""
_PROTO = re.compile(rb"\x80[\x02-\x05]")
_PADDED = re.compile(rb"\.\x00+\Z")
"""The end of a pickle and zeros up to the next block."""
_GDBM = (b"\xcd\x9a\x57\x13", b"\xce\x9a\x57\x13", b"\xcf\x9a\x57\x13", b"\xd0\x9a\x57\x13", b"\xd1\x9a\x57\x13")
"""`GDBM_OMAGIC`, `GDBM_MAGIC32`, `GDBM_MAGIC64` and those for numsync, in little-endian order (gdbmconst.h)."""
_BERKELEY = {b"\x61\x15\x06\x00", b"\x62\x31\x05\x00"}
"""Hash and tree of Berkeley DB, at byte 12 (`db_hash.h`, `db_btree.h`); version 1.85 has them at byte 0."""


class ShelfScanner:
    name = "shelf"

    def recognise(self, job: Job) -> bool:
        head = job.head
        return head.startswith(_GDBM) or bool(_BERKELEY & {head[:4], head[12:16]}) or _dumb(job)

    def scan(self, job: Job) -> Facts:
        facts = unverifiable(
            job,
            "shelf",
            "shelf.values",
            "This is a database of the kind that Python's shelves are kept in, and not all of it can be followed.",
            meaning="Each value of a shelf is a pickle, which is run when the value is looked up.",
            remedy="Open it with shelve.open under nbguard: each value is judged then, before it is run.",
        )
        facts.not_scanned.append(NotScanned(job.path, "which bytes of a database are values"))
        for number, at in enumerate(_starts(job)):
            if number >= MAX_TRIED:
                break
            found = run(job, BytesView(job.view.read(at, _LENGTH)), base=at, many=False)
            if found.verdict is Verdict.DANGER:
                found.regions, found.containers, found.programs = {}, {}, []
                facts.merge(found)
        return facts


def _dumb(job: Job) -> bool:
    """Whether it is the file of values of `dbm.dumb`: its list lies beside it, or a second value begins at a block."""
    if job.member:
        return False
    base = job.path.rsplit("/", 1)[-1]
    if job.suffix == ".dat" and f"{base[:-4]}.dir" in job.companions and f"{base[:-4]}.bak" in job.companions:
        return True
    head = job.head
    if not _PROTO.match(head):
        return False
    blocks = range(BLOCK, len(head), BLOCK)
    return any(_PROTO.match(head, at) and _PADDED.search(head, at - BLOCK, at) for at in blocks)


def _starts(job: Job) -> Iterator[int]:
    """Where pickles may begin: at the blocks, and wherever one says its protocol."""
    data = job.view.read(0, min(job.size, MAX_SIZE))
    marks = {match.start() for match in _PROTO.finditer(data)}
    blocks = {at for at in range(0, len(data), BLOCK) if data[at] in b"(c]}\x80"}
    return iter(sorted(marks | blocks))


SCANNER = ShelfScanner()
FORMATS = (
    Format(
        "shelf",
        "Shelves (`dbm`)",
        (".db", ".dat", "what `shelve` was told"),
        "the marks of GDBM and Berkeley DB; for `dbm.dumb` its list beside it, or values at blocks of 512 bytes",
        "when it is opened through `shelve`: every value, as the pickle that it is; as a file: every pickle "
        "that is found",
        "as a file: which bytes are values",
        "opened: as its values; as a file *unverifiable*, or *danger*",
    ),
)
