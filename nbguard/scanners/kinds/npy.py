"""numpy's `.npy`: a header and raw numbers, or, for objects, a pickle.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats.npy import MAGIC, NpyError, read_header
from nbguard.formats.view import Part
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.streams import run_at


class NpyScanner:
    name = "npy"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(MAGIC)

    def scan(self, job: Job) -> Facts:
        return judge(job)


SCANNER = NpyScanner()
FORMATS = (
    Format(
        "npy",
        "NumPy's `.npy`",
        (".npy",),
        "the mark `\\x93NUMPY` at its start",
        "the header, and that the numbers are there; objects are a pickle, of which every instruction is read",
        "the numbers themselves",
        "*safe* without objects; any verdict with them; *unverifiable* where the header or a length is wrong",
    ),
)


def judge(job: Job) -> Facts:
    """The header is checked; numbers are not read; the pickle of objects is."""
    try:
        header = read_header(job.view)
    except NpyError as error:
        return unverifiable(job, "npy", "npy.header", str(error))
    facts = plain(job, "npy")
    rest = job.size - header.data
    if header.kind.objects:
        part = Part(job.view, header.data, rest)
        judged, end = run_at(job, part, container=job.container or "npy", base=header.data, many=False)
        judged.format, judged.containers = "npy", facts.containers
        judged.regions = {"data": header.data, "code": min(end, rest), "unknown": max(0, rest - end)}
        if not judged.programs:
            judged.unverifiable("npy.objects", job.path, job.location, "The objects of the array cannot be read.")
        return judged
    if header.nbytes > rest:
        facts.unverifiable("npy.truncated", job.path, job.location, "The array is cut off.")
    facts.blocks.append((job.member, header.data, min(header.nbytes, rest), header.descr))
    facts.regions = {"data": job.size - max(0, rest - header.nbytes), "unknown": max(0, rest - header.nbytes)}
    facts.counts.update(arrays=1, array_bytes=header.nbytes)
    return facts
