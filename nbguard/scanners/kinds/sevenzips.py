"""7z archives, alone and behind the program that unpacks them.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
import zlib

from nbguard.formats import sevenzip
from nbguard.formats.sevenzip import SevenArchive, SevenFile
from nbguard.formats.sevenzip_coders import CoderError
from nbguard.formats.sevenzip_headers import Folder, SevenZipError
from nbguard.formats.view import Part, View
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.archive_paths import Placed, judge_paths
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.members import examine_member

_PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_SEARCHED = 4 << 20
"""Bytes at the start of a program in which 7-Zip, too, looks for an archive (`kMaxCheckStartPosition`)."""
_MAX_TARGET = 4096


class SevenZipScanner:
    name = "7z"

    def recognise(self, job: Job) -> bool:
        return _start(job) >= 0

    def scan(self, job: Job) -> Facts:
        start = _start(job)
        try:
            archive = sevenzip.read_archive(job.view, start)
        except SevenZipError as error:
            return unverifiable(job, "7z", "7z.malformed", str(error))
        facts = plain(job, "7z")
        facts.marks.append(hashlib.sha256(job.view.read(start, sevenzip.FIRST)).hexdigest())
        if start:
            _behind_a_program(job, start, facts)
        for rule, sentence in archive.problems:
            facts.unverifiable(rule, job.path, job.location, sentence)
        if not archive.files:
            facts.unverifiable("7z.empty", job.path, job.location, "The 7z holds nothing.")
        targets: dict[str, str] = {}
        for folder, files in archive.by_folder():
            _folder(job, archive, folder, files, targets, facts)
        _names(job, archive, targets, facts)
        facts.regions = {"data": job.size}
        return facts


SCANNER = SevenZipScanner()


def _start(job: Job) -> int:
    if job.head.startswith(sevenzip.MAGIC):
        return 0
    return sevenzip.find(job.view, _SEARCHED) if job.head.startswith(_PROGRAMS) else -1


def _behind_a_program(job: Job, start: int, facts: Facts) -> None:
    facts.add(
        Finding(
            "7z.program",
            Severity.HIGH,
            job.path,
            f"{job.location} @ {start:#x}".strip(),
            "This is a program with a 7z behind it, which it unpacks when somebody starts it.",
            meaning="Starting it runs whatever it was made to run.",
            remedy="Do not start it. Unpack it with 7-Zip, or ask for the plain archive.",
        ),
        Verdict.REVIEW,
    )


def _folder(
    job: Job, archive: SevenArchive, folder: Folder, files: list[SevenFile], targets: dict[str, str], facts: Facts
) -> None:
    """Unpack what was packed as one, and judge every file in it."""
    if not files:
        return
    where = files[0].name[:200]
    try:
        data = sevenzip.open_folder(job.view, archive, folder, limit=max(0, job.budget.unpacked))
    except CoderError as error:
        rule = "7z.encrypted" if error.encrypted else "7z.packed"
        facts.unverifiable(rule, job.path, where, str(error))
        return
    if not isinstance(data, Part) and not job.budget.take(data.size):
        facts.unverifiable("limits.unpacked", job.path, where, "The archive unpacks to more than is read.")
        return
    if folder.crc is not None and len(files) > 1 and _crc(data) != folder.crc:
        facts.unverifiable("7z.checksum", job.path, where, "What is packed is damaged: its check sum is wrong.")
    for file in files:
        if not job.budget.member():
            facts.unverifiable(
                "limits.members", job.path, file.name[:200], "The archive holds more entries than are looked at."
            )
            return
        view = Part(data, file.offset, file.size)
        if file.kind == "link":
            targets[file.name] = view.read(0, _MAX_TARGET + 1).decode("utf-8", "replace")
            continue
        if file.crc is not None and _crc(view) != file.crc:
            facts.unverifiable(
                "7z.checksum", job.path, file.name[:200], "The entry is damaged: its check sum is wrong."
            )
        small = view.read(0, view.size) if view.size <= job.limits.whole and not isinstance(data, Part) else view
        facts.merge(examine_member(job, small, file.name, "7z-member"))


def _crc(view: View) -> int:
    crc = 0
    for at in range(0, view.size, 1 << 20):
        crc = zlib.crc32(view.read(at, 1 << 20), crc)
    return crc


def _names(job: Job, archive: SevenArchive, targets: dict[str, str], facts: Facts) -> None:
    seen: set[str] = set()
    for file in archive.files:
        if file.kind != "folder" and file.name in seen:
            facts.unverifiable(
                "7z.duplicate-member",
                job.path,
                file.name[:200],
                "The entry is there twice; readers take different ones.",
            )
        seen.add(file.name)
    if any(f.kind == "anti" for f in archive.files):
        facts.add(
            Finding(
                "7z.anti-item",
                Severity.HIGH,
                job.path,
                next(f.name for f in archive.files if f.kind == "anti")[:200],
                "Unpacking it deletes files.",
                meaning="Such entries are orders to remove what has their names; no model needs one.",
                remedy="Do not unpack it.",
            ),
            Verdict.DANGER,
        )
    kinds = ("folder", "link", "device", "fifo")
    placed = [
        Placed(f.name, f.kind if f.kind in kinds else "file", targets.get(f.name, ""), f.mode) for f in archive.files
    ]
    judge_paths(job, placed, facts)


FORMATS = (
    Format(
        "7z",
        "7z",
        (".7z",),
        "the mark `7z bc af 27 1c` at its start, or behind a program",
        "all headers, packed ones too; every member, unpacked from Copy, LZMA, LZMA2, Deflate, BZip2 and zstandard,"
        " with Delta and the filters for machine code; check sums; where names and links lead",
        "members packed with PPMd, BCJ2, Deflate64 or others, and encrypted ones: they are *unverifiable*",
        "what its members are; *review* behind a program; *danger* for names and links that lead out of the folder, and"
        " for orders to delete; *unverifiable* where a size, a place or a check sum lies",
    ),
)
