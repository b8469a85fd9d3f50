"""Compressed streams: joblib's and pandas' compressions, judged by what comes out.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import compression
from nbguard.report.model import Verdict
from nbguard.scanners.base import Format, Job, unread, unverifiable
from nbguard.scanners.facts import Facts

MOST_OF_A_BOMB = 64 << 20
"""Bytes of what came out that are still looked at when more came out than was allowed."""
_UNREAD: tuple[tuple[int, bytes, str, str, tuple[str, ...]], ...] = (
    (0, b"Rar!\x1a\x07", "rar", "a RAR archive", (".rar",)),
    (0, b"\x1f\x9d", "compress", "a file of `compress`", (".Z",)),
    (0, b"LZIP", "lzip", "an lzip file", (".lz",)),
    (0, b"\x89LZO\0\r\n\x1a\n", "lzop", "an lzop file", (".lzo",)),
    (0, b"\xff\x06\0\0sNaPpY", "snappy", "a file of framed Snappy", (".sz",)),
    (0, b"MSCF\0\0\0\0", "cab", "a Windows cabinet", (".cab",)),
    (2, b"-lh", "lha", "an LHA archive", (".lzh", ".lha")),
    (0, b"070701", "cpio", "a cpio archive", (".cpio",)),
    (0, b"070702", "cpio", "a cpio archive", (".cpio",)),
    (0, b"070707", "cpio", "a cpio archive", (".cpio",)),
    (0, b"zPQ", "zpaq", "a ZPAQ archive", (".zpaq",)),
    (0, b"7kSt", "zpaq", "a ZPAQ archive", (".zpaq",)),
    (7, b"**ACE**", "ace", "an ACE archive", (".ace",)),
)
"""(offset, first bytes, format, what to call it, usual extensions); sources: the formats' own descriptions, `magic(5)`.

zstandard before 0.8 wrote other first bytes, one for each version (`zstd_legacy.h`); brotli has none at all.
"""
_OLD_ZSTD = tuple(bytes([n]) + b"\xb5\x2f\xfd" for n in range(0x22, 0x28))


class CompressedScanner:
    name = "compressed"

    def recognise(self, job: Job) -> bool:
        return compression.detect(job.head[:4096]) is not None or _known(job) is not None

    def scan(self, job: Job) -> Facts:
        kind = compression.detect(job.head[:4096])
        if kind is None:
            found = _known(job)
            assert found is not None
            return unread(job, *found)
        first, problem, bomb = 0, "", False
        try:
            unpacked = compression.unpack(job.view, kind, limit=max(0, job.budget.unpacked))
            data, first = unpacked.data, unpacked.first
        except compression.CompressionError as error:
            data, problem, bomb = error.seen, str(error), error.bomb
        if not job.budget.take(len(data)) or (bomb and not data):
            return unverifiable(job, kind, "limits.unpacked", "It unpacks to more than is read.")
        if problem and not data:
            return unverifiable(job, kind, "compression.damaged", problem)
        facts = _judge(job, kind, data[:MOST_OF_A_BOMB] if bomb else data, first)
        if job.size > job.limits.whole and not job.member:
            facts.marks.append(hashlib.sha256(data).hexdigest())  # a layout alone would not pin it
        if problem:
            rule = "limits.unpacked" if bomb else "compression.damaged"
            facts.unverifiable(rule, job.path, job.location, problem)
        return facts


SCANNER = CompressedScanner()


def _judge(job: Job, kind: str, data: bytes, first: int) -> Facts:
    """What came out, as what it is; and what comes out for a reader that stops behind the first stream."""
    from nbguard.scanners.registry import examine

    chain = f"{job.compression}+{kind}" if job.compression else kind
    facts = examine(job.inside(data, compression=chain))
    if not job.member:
        facts.containers[job.path] = f"{facts.format}+{kind}"
    facts.format = f"{facts.format}+{kind}"
    facts.regions = {"code" if facts.programs else "data": job.size}
    if 0 < first < len(data):
        alone = examine(job.inside(data[:first], compression=chain))
        # That a part breaks off is nothing to tell; that a part does harm is.
        if alone.verdict is Verdict.DANGER and facts.verdict is not Verdict.DANGER:
            alone.regions, alone.containers = {}, {}
            facts.read_too(alone)
    return facts


def _known(job: Job) -> tuple[str, str] | None:
    """(format, what to call it) of what is recognised and not read."""
    for offset, magic, format, called, _ in _UNREAD:
        if job.head.startswith(magic, offset):
            return format, called
    if job.head.startswith(_OLD_ZSTD):
        return "zstd", "a zstandard stream from before version 0.8"
    if job.suffix == ".br" and not _is_text(job.head):
        return "brotli", "a brotli stream"
    return None


def _is_text(head: bytes) -> bool:
    """Breton, say: its word lists have the same extension."""
    try:
        return head[:-4].decode("utf-8").isprintable() or not any(b < 9 for b in head)
    except UnicodeDecodeError:
        return False


_READ = {
    "gzip": ("gzip", (".gz",), "the mark `1f 8b` at its start"),
    "bz2": ("bzip2", (".bz2",), "the mark `BZh` and that of its first block"),
    "xz": ("xz", (".xz",), "the mark `fd 37 7a 58 5a` at its start"),
    "lzma": ("lzma, the old `.lzma`", (".lzma",), "its header of 13 bytes, and that what follows can be unpacked"),
    "zlib": ("zlib", (".z", ".zlib"), "its header of two bytes, and that what follows can be unpacked"),
    "zfile": ("joblib before 0.10", (".z",), "the mark `ZF` at its start"),
    "lz4": ("lz4", (".lz4",), "the mark `04 22 4d 18` at its start, or behind frames that are skipped"),
    "lz4-legacy": ("lz4, legacy frames", (".lz4",), "the mark `02 21 4c 18` at its start"),
    "zstd": ("zstandard", (".zst",), "the mark `28 b5 2f fd` at its start, or behind frames that are skipped"),
}
_CALLED = {"rar": "RAR", "compress": "compress (`.Z`)", "cab": "Windows cabinet", "lha": "LHA", "zpaq": "ZPAQ"}
FORMATS = (
    *(
        Format(
            name,
            title,
            usual,
            recognised,
            "all that comes out, streams end to end included, as what it is; and the first stream by itself",
            "the rest of streams that unpack to more than the limits allow, or ask for more memory than readers give",
            "what its content is; *unverifiable* where it is cut off, damaged, too large or followed by something else",
        )
        for name, (title, usual, recognised) in _READ.items()
    ),
    *(
        Format(
            name,
            _CALLED.get(name, name),
            usual,
            "the mark at its start",
            "nothing but that mark",
            "all that is in it: nbguard does not unpack this format",
            "*unverifiable*",
            untested="nothing here writes it, and nothing of it is read",
        )
        for name, usual in {row[2]: row[4] for row in _UNREAD}.items()
    ),
    Format(
        "brotli",
        "brotli",
        (".br",),
        "its name alone: the format has no mark",
        "nothing",
        "all that is in it: nbguard does not unpack this format",
        "*unverifiable*",
        untested="nothing here writes it, and nothing of it is read",
    ),
)
