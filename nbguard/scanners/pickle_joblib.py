"""Scans the one program of a joblib stream, with the raw arrays that lie inside it.

facts, end = JoblibScan(open("model.joblib", "rb"), size, judge, base=0, compression="").scan()
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, BinaryIO

from nbguard.formats.joblib_machine import Block, JoblibMachine, StreamError
from nbguard.formats.numpy_dtype import DTypeError
from nbguard.formats.pickle_machine import MachineLimit, Tape
from nbguard.formats.pickle_run import guarded
from nbguard.report.model import Finding, Program, Severity, Verdict
from nbguard.scanners.facts import Facts
from nbguard.scanners.pickle_judge import Judge


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


def count(facts: Facts, kind: str, size: int) -> None:
    facts.regions[kind] = facts.regions.get(kind, 0) + size


class JoblibScan:
    """One run over one joblib stream."""

    def __init__(self, handle: BinaryIO, size: int, judge: Judge, *, base: int, compression: str) -> None:
        self.handle, self.size, self.base, self.compression = handle, size, base, compression
        self.judge = judge
        self.judge.block_source = self._read
        self.tape = Tape(self.judge.watch)

    def scan(self) -> tuple[Facts, int]:
        """The facts, and the offset behind the program; where it did not end, the offset that it began at."""
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
                count(facts, "data", block.length)
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
            count(facts, "unknown", self.size - start)
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
        count(judge.facts, "code", length)

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
            count(self.judge.facts, "unknown", self.size - end)

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
