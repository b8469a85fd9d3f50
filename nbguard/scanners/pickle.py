"""Scans pickle programs: what would be loaded, judged by the rules.

    facts, end = scan_stream(open("model.pkl", "rb").read(), file="model.pkl")
    facts.verdict, [g.dotted for g in facts.globals]

`scan_joblib` does the same for a stream that joblib wrote, from a seekable file, skipping gigabytes of arrays.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from nbguard.formats.joblib_machine import Block, JoblibMachine, StreamError
from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import PASS, MachineLimit, Seen, Tape, guarded, run
from nbguard.formats.pickle_source import Source, as_file
from nbguard.report.model import Finding, Program, Severity, Verdict
from nbguard.scanners.facts import Facts
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
            many=many,
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
    many: bool = True,
) -> tuple[Facts, int]:
    """Scan the one program of a joblib stream from where `handle` stands, `size` being the stream's whole length.

    Raw array bytes are skipped by seeking; they become the program's `ranges` and `Facts.blocks`. An array of objects
    is a program of its own inside the first: its extent is among the ranges, and it has its own `Program`.
    """
    facts_of = _Joblib(handle, size, file, member, base, compression, companions, nested, depth)
    return facts_of.scan(many)


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
    ) -> None:
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
        for count in range(MAX_PROGRAMS + 1):
            if count == MAX_PROGRAMS:
                facts.unverifiable(
                    "pickle.too-many", self.judge.file, self._place(at), "Too many programs in one file."
                )
                break
            before = (self.tape.asked, len(self.tape.persistent))
            self.source.seek(at)
            self.starts.append(at)
            error = run(self.source, self.tape)
            if error is not None:
                self._failed(at, end, error, count, before)
                break
            end = self.source.tell()
            self._ended(at, end)
            if end >= self.source.size or not many:
                break
            if self._raw_follows(count + 1):
                _count(facts, "data", self.source.size - end)
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
        _count(judge.facts, "code", end - start)
        if not _restricted(bytes(self.source.slice(start, start + 2))):
            judge.facts.weights_only = False

    def _failed(self, at: int, end: int, error: Exception, count: int, before: tuple[int, int]) -> None:
        """A program that did not end: unverifiable, unless it is plainly no program but bytes behind the last one."""
        judge, rest = self.judge, self.source.size - at
        named = self.tape.asked > before[0] or self.tape.extensions
        if count and not named:
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
            _count(judge.facts, "unknown", rest)
            return
        judge.program_calls("")
        _count(judge.facts, "unknown", rest)
        judge.facts.unverifiable(
            "pickle.unreadable",
            judge.file,
            self._place(at),
            f"This pickle program could not be read to its end: {explain(error)}.",
            meaning="What comes after that point is unknown. A loader may have run what came before it.",
            remedy="Get the file again. If it is the same there, do not load it.",
        )
        if not count:
            self._behind_junk()

    def _behind_junk(self) -> None:
        """The first program did not end: what would a loader find that starts further on? It can only make it worse."""
        head = bytes(self.source.slice(1, _SEARCHED))
        at = -1
        for _ in range(MAX_STARTS):
            found = [p for p in (head.find(b"\x80" + bytes([n]), at + 1) for n in (2, 3, 4, 5)) if p >= 0]
            if not found:
                return
            at = min(found)
            self.source.seek(at + 1)
            self.starts.append(at + 1)
            run(self.source, self.tape)
            self.judge.program_calls("")

    def _raw_follows(self, count: int) -> bool:
        """torch's legacy format: five programs (magic number, version, system, object, keys), then raw storages."""
        legacy = self.judge.container in RAW_FOLLOWS and bytes(self.source.slice(0, len(TORCH_MAGIC))) == TORCH_MAGIC
        return legacy and count == 5

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


class _Joblib:
    """One run over one joblib stream."""

    def __init__(
        self,
        handle: BinaryIO,
        size: int,
        file: str,
        member: str,
        base: int,
        compression: str,
        companions: frozenset[str],
        nested: Nested | None,
        depth: int,
    ) -> None:
        self.handle, self.size, self.base, self.compression = handle, size, base, compression
        self.judge = Judge(file, member, "joblib", nested or nested_pickles(file, depth), companions)
        self.judge.block_source = self._read
        self.tape = Tape(self.judge.watch)

    def scan(self, many: bool) -> tuple[Facts, int]:
        judge, facts = self.judge, self.judge.facts
        start = self.handle.tell()
        judge.locate = lambda seen: self._place(start)
        machine = JoblibMachine(self.handle, self.tape, self.size)
        error = guarded(lambda: machine, self.tape)
        end = min(self.handle.tell(), self.size) if error is None else start
        self._companions(machine.files)
        for block in machine.blocks:
            if block.dtype != "program":
                facts.blocks.append((judge.member, self.base + block.offset, block.length, block.dtype))
                _count(facts, "data", block.length)
        if error is not None:
            facts.unverifiable(
                "pickle.unreadable",
                judge.file,
                self._place(start),
                f"This joblib stream could not be read to its end: {explain(error)}.",
                meaning="What comes after that point is unknown. A loader may have run what came before it.",
                remedy="Get the file again. If it is the same there, do not load it.",
            )
            judge.program_calls("")
            _count(facts, "unknown", self.size - start)
        else:
            self._programs(machine, start, end)
            self._trailing(end)
        judge.persistent(self.tape.persistent)
        facts = judge.conclude(self.tape)
        facts.weights_only = False
        return facts, end

    def _programs(self, machine: JoblibMachine, start: int, end: int) -> None:
        outer = [(b.offset, b.length) for b in machine.blocks if not self._inside(b, machine)]
        self._program(start, end, sorted(outer))
        for inner in machine.inner:
            self._program(inner.start, inner.end, [])

    @staticmethod
    def _inside(block: Block, machine: JoblibMachine) -> bool:
        return any(i.start <= block.offset < i.end and block.dtype != "program" for i in machine.inner)

    def _program(self, start: int, end: int, ranges: list[tuple[int, int]]) -> None:
        digest, length, at = hashlib.sha256(), 0, start
        for offset, size in [*ranges, (end, 0)]:
            for piece in self._pieces(at, offset):
                digest.update(piece)
                length += len(piece)
            at = offset + size
        judge = self.judge
        judge.facts.programs.append(
            Program(
                judge.file,
                judge.member,
                self.base + start,
                length,
                digest.hexdigest(),
                "joblib",
                self.compression,
                tuple((self.base + o, n) for o, n in ranges),
            )
        )
        judge.program_calls(digest.hexdigest())
        _count(judge.facts, "code", length)

    def _pieces(self, start: int, end: int) -> Iterable[bytes]:
        self.handle.seek(start)
        while start < end:
            piece = self.handle.read(min(end - start, 1 << 20))
            if not piece:
                raise EOFError("the stream became shorter while it was read")
            start += len(piece)
            yield piece

    def _read(self, block: Block) -> bytes:
        here = self.handle.tell()
        self.handle.seek(block.data)
        data = self.handle.read(block.offset + block.length - block.data)
        self.handle.seek(here)
        return data

    def _trailing(self, end: int) -> None:
        if end < self.size:
            self.judge.facts.add(
                Finding(
                    "pickle.trailing-bytes",
                    Severity.LOW,
                    self.judge.file,
                    self._place(end),
                    f"{self.size - end} bytes follow the program.",
                    meaning="joblib does not read them; another kind of loader might.",
                ),
                self.judge.facts.verdict,
            )
            _count(self.judge.facts, "unknown", self.size - end)

    def _companions(self, files: list[tuple[str, Any]]) -> None:
        """Files that joblib's old wrappers open: beside this one, by a plain name, and there; else refused."""
        judge = self.judge
        for _, name in files:
            plain = type(name) is str and name and name not in (".", "..") and not any(c in name for c in "/\\\0")
            if not plain:
                judge.facts.add(
                    Finding(
                        "joblib.companion-outside",
                        Severity.CRITICAL,
                        judge.file,
                        judge.member,
                        "Opens a file outside its own folder, and unpickles it.",
                        repr(name)[:300],
                        "joblib's old format names array files; this name leads elsewhere.",
                        "Do not load this file.",
                    ),
                    Verdict.DANGER,
                )
            elif name not in judge.companions:
                judge.facts.unverifiable(
                    "joblib.companion-missing",
                    judge.file,
                    judge.member,
                    f"Opens the file {name[:100]!r}, which does not lie beside it.",
                )
            elif name not in judge.facts.companions:
                judge.facts.companions.append(name)

    def _place(self, offset: int) -> str:
        member = f"{self.judge.member} " if self.judge.member else ""
        return f"{member}@ 0x{self.base + offset:x}"


def explain(error: Exception) -> str:
    """The error of a machine in a few words that a person can use. Its own text may come from the file: bounded."""
    if isinstance(error, MemoryError):
        return "it needs more memory than a scan may use"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, EOFError):
        return "it ends in the middle"
    if isinstance(error, MachineLimit | StreamError | DTypeError):
        return str(error)[:200]
    return f"{type(error).__name__}, {str(error)[:160]!r}"


def _count(facts: Facts, kind: str, size: int) -> None:
    facts.regions[kind] = facts.regions.get(kind, 0) + size


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
