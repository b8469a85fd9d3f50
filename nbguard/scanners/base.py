"""What a scanner is: one small protocol, and the job that it is given.

    class MyScanner:
        name = "my-format"
        def recognise(self, job: Job) -> bool:
            return job.head.startswith(b"MINE")
        def scan(self, job: Job) -> Facts: ...

    SCANNER = MyScanner()
    FORMATS = (Format("my-format", …),)     # its lines in docs/formats.md

A module under `nbguard/scanners/kinds/` with a `SCANNER` is all that a new format needs besides its reader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from nbguard.artifact.model import NotScanned
from nbguard.formats.view import BytesView, View
from nbguard.report.model import Severity, Verdict
from nbguard.scanners.facts import Facts

HEAD = 64 * 1024
"""Bytes from the start that recognition may look at for free."""


@dataclass(frozen=True)
class Limits:
    """How much one scan may take. What needs more is unverifiable, never safe."""

    seconds: float = 120.0
    """Wall and processor time for one file."""
    memory: int = 4 << 30
    """Bytes of address space of the worker process."""
    unpacked: int = 1 << 30
    """Bytes that may come out of compressed streams and members of one file, all together."""
    members: int = 50_000
    """Entries of archives that are looked into, all together."""
    depth: int = 6
    """Containers within containers."""
    answer: int = 32 << 20
    """Bytes of a worker's answer about one file."""
    whole: int = 32 << 20
    """Files up to this many bytes are hashed whole; larger ones are pinned by their layout."""


@dataclass
class Budget:
    """What is left of the limits while one file is being scanned; shared by all that is inside it."""

    unpacked: int
    members: int

    def take(self, nbytes: int) -> bool:
        """Use up `nbytes`; False when they are not there any more."""
        self.unpacked -= nbytes
        return self.unpacked >= 0

    def member(self) -> bool:
        self.members -= 1
        return self.members >= 0


@dataclass(frozen=True)
class Job:
    """Bytes to be judged, and where they are."""

    path: str
    """The file's path within the artifact."""
    view: View
    limits: Limits
    budget: Budget
    loader: str | None = None
    """The loader that was called, where there is one: `torch.load`, …"""
    companions: frozenset[str] = frozenset()
    """Paths beside this file that it may name."""
    member: str = ""
    """Path in the container, or empty."""
    compression: str = ""
    container: str = ""
    """Kind of the container that this is a member of, or empty."""
    depth: int = 0
    tick: Callable[[float], None] = field(default=lambda share: None)
    """Told the share that is done, now and then."""

    @cached_property
    def head(self) -> bytes:
        return self.view.read(0, HEAD)

    @cached_property
    def begins(self) -> bytes:
        """The first byte of a text that is no space; empty where there is none. Readers of JSON skip any number."""
        piece, at = self.head.removeprefix(b"\xef\xbb\xbf"), len(self.head)
        while not (rest := piece.lstrip(b" \t\r\n")) and at < self.size:
            piece = self.view.read(at, HEAD)
            at += HEAD
        return rest[:1]

    @property
    def size(self) -> int:
        return self.view.size

    @property
    def name(self) -> str:
        """What the bytes are called: the member's name, else the file's."""
        return self.member or self.path

    @property
    def suffix(self) -> str:
        """Of `name`, in lower case, with the dot; a hint for people's sake, never proof of what the bytes are."""
        base = self.name.rsplit("/", 1)[-1].lower()
        return "." + base.rsplit(".", 1)[-1] if "." in base else ""

    @property
    def location(self) -> str:
        return self.member

    def inside(
        self, data: View | bytes, *, member: str | None = None, compression: str = "", container: str = ""
    ) -> Job:
        """The job for something that lies in this one."""
        view = BytesView(data) if isinstance(data, bytes) else data
        return replace(
            self,
            view=view,
            depth=self.depth + 1,
            member=self.member if member is None else self._below(member),
            compression=compression or self.compression,
            container=container or self.container,
        )

    def _below(self, member: str) -> str:
        return f"{self.member}!{member}" if self.member else member


@dataclass(frozen=True)
class Format:
    """What docs/formats.md says of one format. A scanner's module lists its own in `FORMATS`; plain Markdown."""

    name: str
    """As it stands in reports (`FileReport.format`)."""
    title: str
    """What people call it."""
    usual: tuple[str, ...]
    """Extensions or file names it usually has; they decide nothing."""
    recognised: str
    """How it is told from other formats."""
    checked: str
    """What is read and judged."""
    unchecked: str
    """What is not looked at, and why that is no harm, or that it is."""
    verdicts: str
    """What a file of this kind can be, and when."""
    untested: str = ""
    """Why no file of its own writer is among the tests (it needs a GPU, say); empty where there is one."""


class Scanner(Protocol):
    """One kind of file."""

    name: str
    """The format's name, as it stands in reports."""

    def recognise(self, job: Job) -> bool:
        """Whether a loader of this format would take these bytes for it. Looks at content, not at names."""

    def scan(self, job: Job) -> Facts:
        """Judge them. May raise ValueError, OSError, MemoryError or RecursionError: that makes them unverifiable."""


def unverifiable(job: Job, format: str, rule: str, message: str, **text: str) -> Facts:
    """Facts of something that could not be read to the end."""
    facts = Facts(format=format)
    facts.unverifiable(rule, job.path, job.location, message, **text)
    facts.regions["unknown"] = job.size
    if not job.member:
        facts.containers[job.path] = format
    return facts


def unread(job: Job, format: str, called: str) -> Facts:
    """Facts of a format that is known and has no scanner."""
    facts = unverifiable(
        job,
        format,
        "format.unread",
        f"This is {called}, which nbguard cannot read yet.",
        meaning="Nobody has looked at what loading it would do.",
        remedy="Load a safetensors version of the model, or ask for one.",
    )
    facts.not_scanned.append(NotScanned(job.path, f"{called}: nbguard cannot read this format yet"))
    return facts


def plain(job: Job, format: str, kind: str = "data") -> Facts:
    """Facts of something that holds nothing but data."""
    facts = Facts(format=format, regions={kind: job.size})
    if not job.member:
        facts.containers[job.path] = format
    return facts


__all__ = [
    "HEAD",
    "Budget",
    "Format",
    "Job",
    "Limits",
    "Scanner",
    "Severity",
    "Verdict",
    "plain",
    "unread",
    "unverifiable",
]
