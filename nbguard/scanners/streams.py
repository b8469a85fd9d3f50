"""Pickle streams: where the bytes for the inert machine come from, and when its judgement counts.

facts = scan_pickles(job)          # None where no loader of pickles would run anything
facts = as_pickle_too(job)         # for bytes that another reading has claimed already
"""

from __future__ import annotations

import contextlib
import mmap
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, cast

from nbguard import rules
from nbguard.formats.npy import MAGIC as NPY
from nbguard.formats.view import BytesView, FileView, View, buffered
from nbguard.report.model import Verdict
from nbguard.scanners.base import HEAD, Format, Job
from nbguard.scanners.facts import Facts

IN_MEMORY = 256 << 20
"""Streams up to this many bytes are copied, so that nobody can change them between judging and hashing."""
_WINDOW = 1 << 20
"""Bytes of a file of another format that are offered to the pickle machine first; all of it where that goes on."""
_OF_GLOBALS = frozenset(
    {
        "pickle.argument",
        "pickle.gadget",
        "pickle.library-objects",
        "pickle.odd-name",
        "pickle.runs-later",
        "pickle.trailing-bytes",
        "pickle.unexplained-call",
        "pickle.unknown-class",
        "pickle.unreadable",
    }
)
"""Findings whose harm, if they are harmful, stands in the level of a global too."""
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
    if not (facts.programs or facts.harms or wanted or begun):
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
    if meant_plainly or (plainly.verdict is Verdict.DANGER and not _mixed_up(plainly)):
        regions = dict(facts.regions)
        plainly.read_too(facts)  # this way round: the plain reading knows where in the stream each name stands
        plainly.format, plainly.regions = "joblib", regions
        return plainly
    return facts


def _mixed_up(plainly: Facts) -> bool:
    """Whether all that looks harmful in a plain reading of a joblib file is one module's name out of the wrong memo.

    An array of objects is a program inside the program, with a memo of its own. A plain Unpickler runs it with the
    outer one: `numpy`, place 3 of every such program (`numpy.dtype` is its second name from there), is then whatever
    text the outer program keeps in place 3, a key of a dictionary or the name of a class. A loader finds no `dtype` in
    such a module, or finds numpy's.
    """
    harmful = [use for use in plainly.globals if use.level == "gadget"]
    return (
        bool(harmful)
        and all(use.name == "dtype" and rules.lookup(use.module, use.name) is None for use in harmful)
        and all(found.rule in _OF_GLOBALS for found in plainly.findings)
    )


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
        if not first.programs and not first.harms and not _goes_on(job.head):
            return nothing  # it breaks off within the first bytes, whatever follows
    head = job.view.read(0, _WINDOW)
    facts = run(job, BytesView(head), many=False)
    if not facts.programs and not facts.harms and len(head) < job.size and _goes_on(head):
        facts = run(job, job.view, many=False)
    if not facts.programs and not facts.harms:
        return nothing
    facts.format, facts.containers = "pickle", {}
    if head.startswith(NPY):
        # Its first byte is an opcode that always fails: a pickle load stops there, having run nothing. That harm lies
        # further on still counts; that a header is no pickle is nothing to tell.
        facts.findings = [f for f in facts.findings if f.rule != "pickle.unreadable"]
    return facts


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


FORMATS = (
    Format(
        "pickle",
        "pickle, protocols 0 to 5, several in a row; dill's and cloudpickle's too",
        (".pkl", ".pickle", ".p", ".bin", ".dill"),
        "running it: Python's own machine reads the bytes with inert names. Nothing is needed at the start, and what "
        "is another format too is read as both",
        "every instruction, and every global with what is done to it: called, made, given state, changed; bytes that "
        "are handed to a loader are read as the program or archive that they are",
        "what a class of a library does later with the state that it is given: such classes are listed one by one, or "
        "are for review. Bytes behind the last program are searched for harm in their first megabyte",
        "*safe* where only explained data comes of it; *review* for objects of libraries and classes that are not "
        "listed; *danger* for calls that no rule explains, for known gadgets, for functions as byte code (dill, "
        "cloudpickle); *unverifiable* where it breaks off",
    ),
    Format(
        "joblib",
        "joblib, plain and zlib, gzip, bz2, lzma, xz, lz4",
        (".joblib", ".pkl", ".z", ".gz", ".xz", ".lz4"),
        "a pickle that names joblib's wrappers of arrays; compressed ones by the mark of their compression",
        "every instruction, as in a pickle; arrays by the length that their checked type and shape give; arrays of "
        "objects as programs of their own; files of arrays beside it that the old format names",
        "the numbers themselves. A plain load of such a file breaks off at its first array; what it would run before "
        "that counts too",
        "as a pickle; *unverifiable* where a type or a shape contradicts itself, or an array is cut off",
    ),
)
