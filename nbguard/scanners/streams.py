"""Pickle streams: where the bytes for the inert machine come from, and when its judgement counts.

facts = scan_pickles(job)          # None where no loader of pickles would run anything
facts = as_pickle_too(job)         # for bytes that another reading has claimed already
"""

from __future__ import annotations

import contextlib
import mmap
import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from nbguard.formats.npy import MAGIC as NPY
from nbguard.formats.view import BytesView, FileView, View, buffered
from nbguard.report.model import Verdict
from nbguard.scanners.base import HEAD, Job
from nbguard.scanners.facts import Facts

IN_MEMORY = 256 << 20
"""Streams up to this many bytes are copied, so that nobody can change them between judging and hashing."""
_WINDOW = 1 << 20
"""Bytes of a file of another format that are offered to the pickle machine first; all of it where that goes on."""
_IMPORTABLE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")
PICKLE_LOADERS = frozenset(
    {
        "torch.load",
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
        "joblib.load",
        "pandas.read_pickle",
        "dill.load",
        "numpy.load",
        "dill.loads",
        "cloudpickle.load",
        "cloudpickle.loads",
        "shelve.open",
        "shelve.Shelf",
    }
)


def scan_pickles(job: Job) -> Facts | None:
    """Judge the bytes as programs laid end to end; None where they are no program at all and hold nothing harmful."""
    if not job.size:
        return None
    facts = run(job, job.view)
    wanted = job.loader in PICKLE_LOADERS and not job.member
    begun = job.head[:1] == b"\x80" and job.head[1:2] <= b"\x05"  # PROTO: meant as a pickle, wherever it breaks off
    if not (facts.programs or _harms(facts) or wanted or begun):
        return None
    facts.format = "pickle"
    if _by_joblib(facts):
        facts = _joblib(job, facts)
    facts.containers = {} if job.member else {job.path: _named(facts.format, job)}
    return facts


def _joblib(job: Job, plainly: Facts) -> Facts:
    """What `joblib.load` sees: it reads arrays out of the stream, where a plain Unpickler takes them for opcodes.

    A plain load of such a file breaks off at the first array. That counts where the caller meant a plain load, and in
    any case where harm is done before: an array's bytes may be opcodes for whoever takes them for such.
    """
    from nbguard.scanners.pickle import scan_joblib

    facts, _ = scan_joblib(
        cast(BinaryIO, buffered(job.view, 1 << 20)),
        job.size,
        file=job.path,
        member=job.member,
        compression=job.compression,
        companions=job.companions,
        nested=_nested(job),
        depth=job.depth,
    )
    facts.format = "joblib"
    meant_plainly = job.loader in PICKLE_LOADERS and job.loader != "joblib.load"
    if plainly.verdict is Verdict.DANGER or meant_plainly:
        regions = dict(facts.regions)
        plainly.read_too(facts)  # this way round: the plain reading knows where in the stream each name stands
        plainly.format, plainly.regions = "joblib", regions
        return plainly
    return facts


def run(job: Job, view: View, *, container: str = "", base: int = 0, many: bool = True) -> Facts:
    """The inert machine's judgement on `view`."""
    return run_at(job, view, container=container, base=base, many=many)[0]


def run_at(job: Job, view: View, *, container: str = "", base: int = 0, many: bool = True) -> tuple[Facts, int]:
    """The same, and the offset (counted from the start of `view`) behind the last program."""
    from nbguard.scanners.pickle import scan_stream

    with _bytes(view) as data:
        return scan_stream(
            data,
            file=job.path,
            member=job.member,
            base=base,
            container=container or job.container or "pickle",
            compression=job.compression,
            many=many,
            companions=job.companions,
            nested=_nested(job),
            depth=job.depth,
        )


def _nested(job: Job) -> Callable[[bytes, str], Facts]:
    """The reader for bytes that a program hands to a function that loads them; these may be a zip of torch's."""
    from nbguard.scanners.pickle import nested_pickles

    pickles = nested_pickles(job.path, job.depth)

    def read(data: bytes, what: str) -> Facts:
        if data[:2] != b"PK":
            return pickles(data, what)
        from nbguard.scanners.registry import examine

        facts = examine(job.inside(data, member=f"({what[:100]})", container="nested"))
        facts.containers, facts.regions, facts.marks = {}, {}, []
        return facts

    return read


@contextlib.contextmanager
def _bytes(view: View) -> Iterator[bytes | mmap.mmap]:
    if isinstance(view, BytesView):
        yield view.data
    elif isinstance(view, FileView) and view.size > IN_MEMORY:
        with mmap.mmap(view.fd, view.size, access=mmap.ACCESS_READ) as mapped:
            yield mapped
    else:
        yield view.read(0, view.size)


def _by_joblib(facts: Facts) -> bool:
    return any(use.dotted.startswith(("joblib.numpy_pickle", "sklearn.externals.joblib")) for use in facts.globals)


def _named(format: str, job: Job) -> str:
    return f"{format}+{job.compression}" if job.compression else format


def as_pickle_too(job: Job) -> Facts:
    """What a loader of pickles would do with a file of another format.

    It counts where the stream runs to its end, or does harm before it breaks. Everything else is what such loaders
    say about it too: no pickle.
    """
    nothing = Facts(format="")
    if not job.size or job.head[:2] == b"PK":
        return nothing  # a plain Unpickler refuses a persistent id at once, and torch looks for zips first
    job = replace(job, companions=frozenset())
    if job.size > HEAD:
        first = run(job, BytesView(job.head), many=False)
        if not first.programs and not _harms(first) and not _goes_on(job.head):
            return nothing  # it breaks off within the first bytes, whatever follows
    head = job.view.read(0, _WINDOW)
    facts = run(job, BytesView(head), many=False)
    if not facts.programs and not _harms(facts) and len(head) < job.size and _goes_on(head):
        facts = run(job, job.view, many=False)
    if not facts.programs and not _harms(facts):
        return nothing
    facts.format, facts.containers = "pickle", {}
    if head.startswith(NPY):
        # Its first byte is an opcode that always fails: a pickle load stops there, having run nothing. That harm lies
        # further on still counts; that a header is no pickle is nothing to tell.
        facts.findings = [f for f in facts.findings if f.rule != "pickle.unreadable"]
    return facts


def _harms(facts: Facts) -> bool:
    """Whether a stream that breaks off may have done harm before: it named something harmful that can be imported.

    Words of a text and chance bytes of a picture that stand where a stream names a module name nothing that is there:
    a loader fails on them, and nothing has run.
    """
    harmful = (use for use in facts.globals if use.level == "gadget")
    return facts.verdict is Verdict.DANGER and any(_IMPORTABLE.match(use.module) for use in harmful)


def _goes_on(data: bytes) -> bool:
    """Whether the stream breaks off for want of bytes rather than for a byte that is no opcode."""
    try:
        for _ in pickletools.genops(data):
            pass
    except ValueError as error:
        text = str(error)
        return "exhausted" in text or "remain" in text or "newline" in text
    except Exception:  # noqa: BLE001 - genops raises whatever a malformed argument makes it raise; the machine judged it
        return False
    return False
