"""TensorRT's engines: known by their mark, and told for what they are.

facts = SCANNER.scan(job)

An engine is a graph that was compiled for one kind of GPU and one version of TensorRT, in a form that NVIDIA does not
describe. Loading one runs its code on the GPU; since TensorRT 8.6 it may hold libraries for the host as well (plugins,
the runtime itself), which run with all rights of the user where the caller allows that. Nothing of it can be read, so
that it is *unverifiable*, not something to be looked at: a person who accepts it has nothing to look at either.
"""

from __future__ import annotations

import json

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, unread
from nbguard.scanners.facts import Facts

MARKS = (b"ftrt", b"ptrt")
"""First bytes of `ICudaEngine.serialize` since TensorRT 7, and of plans before."""
MAX_NOTES = 1 << 20
_LIBRARY = b"\x7fELF\x02\x01"
"""An ELF file of 64 bits, little-endian; the mark alone stands in four gigabytes of numbers by chance."""


class TensorRTScanner:
    name = "tensorrt"

    def recognise(self, job: Job) -> bool:
        return job.head[:4] in MARKS or _behind_notes(job) is not None

    def scan(self, job: Job) -> Facts:
        facts = unread(job, "tensorrt", "a TensorRT engine, compiled for one kind of GPU")
        if _holds_library(job):
            facts.add(
                Finding(
                    "tensorrt.library",
                    Severity.HIGH,
                    job.path,
                    job.location,
                    "There is machine code for this computer in the engine.",
                    meaning="Where the caller allows host code, TensorRT loads it as a library and runs it with all "
                    "your rights.",
                    remedy="Build the engine yourself from the model's ONNX file.",
                ),
                Verdict.UNVERIFIABLE,
            )
        return facts


SCANNER = TensorRTScanner()


def _behind_notes(job: Job) -> int | None:
    """Where the engine starts if notes in JSON stand in front, as ultralytics writes them; None where none do."""
    length = int.from_bytes(job.head[:4], "little")
    if not 2 <= length <= MAX_NOTES or job.head[4:5] != b"{" or job.view.read(4 + length, 4) not in MARKS:
        return None
    try:
        json.loads(job.view.read(4, length))
    except (ValueError, RecursionError):
        return None
    return 4 + length


def _holds_library(job: Job) -> bool:
    rest = b""
    for at in range(0, job.size, 1 << 22):
        piece = rest + job.view.read(at, 1 << 22)
        if _LIBRARY in piece:
            return True
        rest = piece[1 - len(_LIBRARY) :]
    return False


FORMATS = (
    Format(
        "tensorrt",
        "TensorRT engines",
        (".engine", ".plan", ".trt"),
        "the mark `ftrt` at its start, or behind notes in JSON as ultralytics writes them",
        "whether it holds a library for the host (an ELF file)",
        "all else: the format is closed. Loading an engine runs compiled code, on the GPU always and on the host where "
        "the caller allows it. Build engines yourself, from ONNX",
        "*unverifiable*, always: there is nothing that a person could look at",
        untested="Writing one needs an NVIDIA GPU and TensorRT.",
    ),
)
