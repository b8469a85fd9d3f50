"""Scans pickle programs: what would be loaded, judged by the rules.

    facts, end = scan_stream(open("model.pkl", "rb").read(), file="model.pkl")
    facts.verdict, [g.dotted for g in facts.globals]

`scan_joblib` does the same for a stream that joblib wrote, from a seekable file, skipping gigabytes of arrays.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from typing import BinaryIO

from nbguard.formats.pickle_machine import PASS, Seen, Tape
from nbguard.formats.pickle_run import run
from nbguard.formats.pickle_source import Source, as_file
from nbguard.report.model import Finding, Program, Severity
from nbguard.scanners.facts import Facts
from nbguard.scanners.pickle_joblib import JoblibScan, count, explain
from nbguard.scanners.pickle_judge import Judge

Data = bytes | bytearray | memoryview | mmap.mmap
Nested = Callable[[bytes, str], Facts]

MAX_PROGRAMS = 10_000
"""Programs in one stream; more than that is no model."""
MAX_DEPTH = 8
"""Programs inside programs."""
MAX_STARTS = 8
"""Places tried for a program behind junk."""
RAW_FOLLOWS = frozenset({"nested", "torch-legacy"})
"""Containers in which raw storages follow the programs (torch/serialization.py, `_legacy_save`)."""
TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""torch/serialization.py's MAGIC_NUMBER, as `torch.save` pickles it."""
_SEARCHED = 1024 * 1024
_ZIP = b"PK\x03\x04"


def scan_stream(
    data: Data,
    *,
    file: str,
    member: str = "",
    base: int = 0,
    container: str = "pickle",
    compression: str = "",
    many: bool = True,
    companions: frozenset[str] = frozenset(),
    nested: Nested | None = None,
    depth: int = 0,
) -> tuple[Facts, int]:
    """Scan the pickle programs that `data` begins with.

    Args:
        file, member, container, compression: copied into every `Program` and finding.
        base: what to add to offsets in `data` for those in the file or member.
        many: go on behind the first STOP; what follows and is no program is reported as trailing bytes.
        companions: names of files beside this one, for joblib's old format.
        nested: reads bytes handed to a function that loads them; None reads pickles and takes nothing else for read.

    Returns:
        The facts, and the offset in `data` behind the last program that ended; 0 where none did.
    """
    if container == "joblib":
        return scan_joblib(
            as_file(data),
            len(data),
            file=file,
            member=member,
            base=base,
            compression=compression,
            companions=companions,
            nested=nested,
            depth=depth,
        )
    reader = _Stream(data, file, member, base, container, compression, companions, nested, depth)
    try:
        end = reader.programs(many)
        return reader.finish(), end
    finally:
        reader.source.close()


def scan_joblib(
    handle: BinaryIO,
    size: int,
    *,
    file: str,
    member: str = "",
    base: int = 0,
    compression: str = "",
    companions: frozenset[str] = frozenset(),
    nested: Nested | None = None,
    depth: int = 0,
) -> tuple[Facts, int]:
    """Scan the one program of a joblib stream from where `handle` stands, `size` being the stream's whole length.

    Raw array bytes are skipped by seeking; they become the program's `ranges` and `Facts.blocks`. An array of objects
    is a program of its own inside the first: its extent is among the ranges, and it has its own `Program`.
    """
    judge = Judge(file, member, "joblib", nested or nested_pickles(file, depth), companions)
    return JoblibScan(handle, size, judge, base=base, compression=compression).scan()


def nested_pickles(file: str, depth: int) -> Nested:
    """The reader for programs inside programs that is used where no other is given."""

    def read(data: bytes, what: str) -> Facts:
        if depth >= MAX_DEPTH:
            facts = Facts(format="nested")
            facts.unverifiable("pickle.nested", file, "", f"Programs inside programs, {depth} deep.")
            return facts
        if data.startswith(_ZIP):
            facts = Facts(format="nested")
            facts.unverifiable("pickle.nested", file, "", f"The bytes handed to {what[:100]} are a zip archive.")
            return facts
        facts, _ = scan_stream(data, file=file, member=f"({what[:100]})", container="nested", depth=depth + 1)
        return facts

    return read


class _Stream:
    """One run over one stream of plain programs."""

    def __init__(
        self,
        data: Data,
        file: str,
        member: str,
        base: int,
        container: str,
        compression: str,
        companions: frozenset[str],
        nested: Nested | None,
        depth: int,
        searches: bool = True,
    ) -> None:
        """`searches`: look for programs that start further on. Bytes that are handed to a loader are read from their
        start or not at all, and a search in each of those in a search would have no end."""
        self.searches = searches and container != "nested"
        self.data, self.base, self.compression = data, base, compression
        self.judge = Judge(file, member, container, nested or nested_pickles(file, depth), companions)
        self.judge.locate = self._locate
        self.tape = Tape(self.judge.watch)
        self.source = Source(data)
        self.errors: list[tuple[int, Exception]] = []
        self.starts: list[int] = []

    def programs(self, many: bool) -> int:
        """Run them all; the offset behind the last one that ended."""
        at = end = 0
        facts = self.judge.facts
        for done in range(MAX_PROGRAMS + 1):
            if done == MAX_PROGRAMS:
                facts.unverifiable(
                    "pickle.too-many", self.judge.file, self._place(at), "Too many programs in one file."
                )
                break
            before = (self.tape.asked, len(self.tape.persistent))
            self.source.seek(at)
            self.starts.append(at)
            error = run(self.source, self.tape)
            if error is not None:
                self._failed(at, end, error, done, before)
                break
            end = self.source.tell()
            self._ended(at, end)
            if end >= self.source.size or not many:
                break
            if self._raw_follows(done + 1):
                count(facts, "data", self.source.size - end)
                break
            self._frames(at, end)
            at = end
        return end

    def finish(self) -> Facts:
        self.judge.persistent(self.tape.persistent)
        return self.judge.conclude(self.tape)

    def _ended(self, start: int, end: int) -> None:
        with self.source.slice(start, end) as view:
            digest = hashlib.sha256(view).hexdigest()
        judge = self.judge
        judge.facts.programs.append(
            Program(judge.file, judge.member, self.base + start, end - start, digest, judge.container, self.compression)
        )
        judge.program_calls(digest)
        count(judge.facts, "code", end - start)
        if not _restricted(bytes(self.source.slice(start, start + 2))):
            judge.facts.weights_only = False

    def _failed(self, at: int, end: int, error: Exception, done: int, before: tuple[int, int]) -> None:
        """A program that did not end: unverifiable, unless it is plainly no program but bytes behind the last one."""
        judge, rest = self.judge, self.source.size - at
        named = self.tape.asked > before[0] or self.tape.extensions
        if done and not named:
            del self.tape.persistent[before[1] :]
            judge.facts.add(
                Finding(
                    "pickle.trailing-bytes",
                    Severity.LOW,
                    judge.file,
                    self._place(end),
                    f"{rest} bytes follow the last program.",
                    meaning="A pickle load does not read them; another kind of loader might.",
                ),
                judge.facts.verdict,
            )
            count(judge.facts, "unknown", rest)
            if self.searches:
                self._further_on(end)
            return
        judge.program_calls("")
        count(judge.facts, "unknown", rest)
        judge.facts.unverifiable(
            "pickle.unreadable",
            judge.file,
            self._place(at),
            f"This pickle program could not be read to its end: {explain(error)}.",
            meaning="What comes after that point is unknown. A loader may have run what came before it.",
            remedy="Get the file again. If it is the same there, do not load it.",
        )
        if not done and self.searches:
            self._behind_junk()

    def _behind_junk(self) -> None:
        """The first program did not end: what would a loader find that starts further on? It can only make it worse."""
        for at in self._starts_behind(1):
            self.source.seek(at)
            self.starts.append(at)
            run(self.source, self.tape)
            self.judge.program_calls("")

    def _further_on(self, end: int) -> None:
        """What follows the last program is none; one that starts in it is told where it does harm.

        No loader goes there by itself. Whoever skips what it cannot read does.
        """
        judge = self.judge
        for at in self._starts_behind(end):
            piece = bytes(self.source.slice(at, at + _SEARCHED))
            further = _Stream(
                piece, judge.file, judge.member, self.base + at, judge.container, self.compression, judge.companions,
                judge.nested, 0, searches=False,
            )  # fmt: skip
            try:
                further.programs(False)
                facts = further.finish()
            finally:
                further.source.close()
            if facts.harms:
                facts.regions = {}
                judge.facts.merge(facts)
                return

    def _starts_behind(self, begin: int) -> Iterator[int]:
        """Where a program may start: the first places with a protocol."""
        head = bytes(self.source.slice(begin, begin + _SEARCHED))
        at = -1
        for _ in range(MAX_STARTS):
            found = [p for p in (head.find(b"\x80" + bytes([n]), at + 1) for n in (2, 3, 4, 5)) if p >= 0]
            if not found:
                return
            at = min(found)
            yield begin + at

    def _raw_follows(self, done: int) -> bool:
        """torch's legacy format: five programs (magic number, version, system, object, keys), then raw storages."""
        legacy = self.judge.container in RAW_FOLLOWS and bytes(self.source.slice(0, len(TORCH_MAGIC))) == TORCH_MAGIC
        return legacy and done == 5

    def _frames(self, start: int, end: int) -> None:
        """A frame longer than its program ends elsewhere for a reader without look-ahead: two readings, so stop."""
        if _find(self.data, b"\x95", start) not in range(start, end):
            return
        exact = Source(self.data, start, peeks=False)
        run(exact, Tape(lambda seen: PASS))
        stands = exact.tell()
        exact.close()
        if stands != end:
            self.judge.facts.unverifiable(
                "pickle.frame-overrun",
                self.judge.file,
                self._place(start),
                "A frame of this program reaches beyond its end, so that the next program starts in two places.",
            )

    def _place(self, offset: int) -> str:
        member = f"{self.judge.member} " if self.judge.member else ""
        return f"{member}@ 0x{self.base + offset:x}"

    def _locate(self, seen: Seen) -> str:
        """Where the stream first names this global."""
        for start in self.starts[:1]:
            found = _find(self.data, seen.raw_name.encode("utf-8", "surrogatepass"), start)
            if found >= 0:
                return self._place(found)
        return self._place(0)


def _restricted(head: bytes) -> bool:
    """torch's restricted machine reads protocol 2, which is what `torch.save` writes."""
    return head == b"\x80\x02"


def _find(data: Data, needle: bytes, start: int) -> int:
    if isinstance(data, memoryview):
        for at in range(start, len(data), _SEARCHED):
            found = bytes(data[at : at + _SEARCHED + len(needle)]).find(needle)
            if found >= 0:
                return at + found
        return -1
    return data.find(needle, start)
