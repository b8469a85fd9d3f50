"""What is in a zip, by the loader that its members make it one for.

    facts = judge(job, zip_reader.read_directory(job.view))

What a zip is decides its loader: `torch.load` takes one with `constants.pkl` for TorchScript, `numpy.load` takes any
for an `.npz`. Whatever the readers of zips could disagree on makes the file unverifiable; what is in it is judged all
the same, since a payload that runs is worse than a doubt.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator

from nbguard.artifact.model import NotScanned
from nbguard.formats import npy, zip_reader, zip_tensors
from nbguard.formats.view import BytesView, Part, View, at_hand
from nbguard.formats.zip_reader import STORED, ZipDirectory, ZipEntry
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import packages, skops, torch_export, torchscript, zip_checks
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.kinds import java, keras
from nbguard.scanners.members import is_marker, lying_beside

_STORAGE = re.compile(r"[\w-]+")
"""How PyTorch calls a storage: by a number. What has an ending, `data/__init__.py` say, is for some other loader."""
MAX_STORED = 16 << 20
"""Bytes; larger stored members of unknown zips are looked at where they lie instead of being copied."""


def judge(job: Job, directory: ZipDirectory) -> Facts:
    """Judge everything in the zip, as the loader that its members make it one for would."""
    kind = kind_of(directory)
    by_skops = skops.is_archive(job, directory)
    if by_skops and kind == "zip":
        kind = "skops"
    others = kind not in ("torch-zip", "torchscript") or keras.is_archive([e.name for e in directory.entries])
    if (others or by_skops) and any(e.guessed for e in directory.entries):
        return judge(job, zip_reader.read_directory(job.view))  # others than PyTorch open these entries too
    facts = plain(job, kind)
    facts.regions = {"code": 0}
    facts.marks.append(hashlib.sha256(job.view.read(*directory.directory)).hexdigest())
    for rule, sentence in zip_checks.problems(directory, kind):
        facts.unverifiable(
            rule,
            job.path,
            job.location,
            sentence,
            meaning="What one program checks is then not what another one loads.",
            remedy="Ask the publisher for a file written by torch.save or numpy.savez, or better for safetensors.",
        )
    zip_checks.names(job, directory, kind, facts)
    _JUDGES[kind](job, directory, facts)
    if kind != "keras" and keras.is_archive([e.name for e in directory.entries]):
        _keras(job, directory, facts)  # what one loader takes for a checkpoint another one takes for a Keras model
    if by_skops and kind != "skops":
        skops.judge(job, directory, facts)
    code = min(facts.regions["code"], job.size)
    unknown = min(directory.start + directory.gaps, job.size - code)
    facts.regions = {"data": job.size - code - unknown, "code": code, "unknown": unknown}
    return facts


def _package(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    names = [e.name for e in directory.entries]
    package = packages.of_wheel(names) or packages.of_egg(names) or packages.of_source(names)
    assert package is not None
    described = next((e for e in directory.entries if package.kind == "egg" and e.name == packages.EGG_INFO), None)
    if described is not None and described.size <= packages.MAX_TEXT:
        package = packages.called(package, zip_reader.read_member(job.view, described, limit=packages.MAX_TEXT))
    packages.judge(job, package, _unpacked(job, directory, facts), facts)


def _unpacked(job: Job, directory: ZipDirectory, facts: Facts) -> Iterator[tuple[str, View]]:
    """(name, bytes) of each member, one after the other."""
    for entry in directory.entries:
        if entry.name.endswith("/") and not entry.size:
            continue
        data = _read(job, entry, facts)
        if data is not None:
            yield entry.name, BytesView(data) if isinstance(data, bytes) else data


def kind_of(directory: ZipDirectory) -> str:
    """What the members make of it: `torch-zip`, `torchscript`, `torch-package`, `torch-export`, `npz`, … or `zip`."""
    names = [e.name.lower() for e in directory.entries]
    inner = {n.partition("/")[2] for n in names}
    if ".data/extern_modules" in inner:
        return "torch-package"
    if "constants.pkl" in inner:
        return "torchscript"
    if "archive_format" in inner or any(
        n.startswith(("models/", "serialized_")) and n.endswith(".json") for n in (*inner, *names)
    ):
        return "torch-export"
    if "data.pkl" in inner:
        return "torch-zip"
    if names and all(n.endswith(".npy") for n in names):
        return "npz"
    if keras.is_archive([e.name for e in directory.entries]):
        return "keras"
    original = [e.name for e in directory.entries]
    if packages.of_wheel(original):
        return "wheel"
    if packages.of_egg(original):
        return "egg"
    if packages.of_source(original):
        return "sdist"
    return "java" if java.is_archive(original) else "zip"


def _torch_zip(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """`torch.load` runs `<folder>/data.pkl`, the folder being that of the first entry, and reads `<folder>/data/*`."""
    _torch_names(job, directory, facts)
    storages = nbytes = 0
    for entry in directory.entries:
        local = entry.name.partition("/")[2]
        bulk = local.startswith("data/") and _STORAGE.fullmatch(local[5:]) is not None
        if not bulk or (not entry.guessed and _begins(job, entry) == npy.MAGIC):
            _member(job, entry, facts, container="torch-zip" if local.lower() == "data.pkl" else "")
            continue
        if entry.method != STORED:
            facts.unverifiable(
                "torch.compressed-storage",
                job.path,
                entry.name[:200],
                "A tensor's bytes are compressed, which PyTorch never writes.",
            )
        storages += 1
        nbytes += entry.size
        facts.blocks.append((entry.name, entry.data, entry.size, entry_kind(entry)))
    if storages:
        facts.counts.update(tensors=storages, tensor_bytes=nbytes)


def _begins(job: Job, entry: ZipEntry) -> bytes:
    """The first bytes of a member, or none where they would cost a request."""
    return job.view.read(entry.data, 6) if at_hand(job.view, entry.data, 6, zip_tensors.WORTH) else b""


def _torch_names(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """PyTorch takes the first entry's folder for all, and finds names without regard to case; it writes neither so."""
    folder = directory.entries[0].name.partition("/")[0] + "/"
    for entry in directory.entries:
        local = entry.name.partition("/")[2]
        if not entry.name.startswith(folder):
            facts.unverifiable(
                "torch.folders",
                job.path,
                entry.name[:200],
                "The entries lie in more than one folder, which PyTorch never writes.",
            )
        if local.lower() in ("data.pkl", "constants.pkl") and local != local.lower():
            facts.unverifiable(
                "zip.case",
                job.path,
                entry.name[:200],
                "The program's name is in capitals: PyTorch finds it, other readers do not.",
            )


def entry_kind(entry: ZipEntry) -> str:
    """Raw bytes, whose type the program says."""
    return "raw" if entry.method == STORED else "deflated"


def _member(job: Job, entry: ZipEntry, facts: Facts, *, container: str = "", inside: str = "zip-member") -> None:
    """Judge one member by what it holds, and add it to `facts`."""
    from nbguard.scanners.registry import examine
    from nbguard.scanners.streams import run

    if (entry.name.endswith("/") and not entry.size) or (not container and is_marker(entry.name, entry.size)):
        return
    data = _read(job, entry, facts)
    if data is None:
        return
    inner = job.inside(data, member=entry.name, container=container or inside)
    if container:
        judged = run(inner, inner.view, container=container)
        judged.regions.clear()
        judged.containers.clear()
        if not judged.programs and judged.verdict < Verdict.UNVERIFIABLE:
            judged.unverifiable("pickle.none", job.path, entry.name[:200], "No pickle is where PyTorch expects one.")
    else:
        judged = lying_beside(examine(inner))
        judged.regions.clear()
        judged.containers.clear()
        if judged.verdict is Verdict.UNVERIFIABLE and judged.format == "unknown" and not _loads_members(facts.format):
            facts.not_scanned.append(
                NotScanned(f"{job.path}!{entry.name}"[:500], "bytes of no known format, which the loader does not open")
            )
            return
    facts.regions["code"] += sum(p.length for p in judged.programs)
    facts.merge(judged)


def _loads_members(kind: str) -> bool:
    """Whether some loader of this kind may hand any member to something else; torch's own kinds do not."""
    return kind not in ("torch-zip", "torchscript")


def _read(job: Job, entry: ZipEntry, facts: Facts) -> bytes | View | None:
    """The member's bytes; a view for large stored ones; None, and a finding, where they cannot be had."""
    if not job.budget.member():
        facts.unverifiable(
            "limits.members", job.path, entry.name[:200], "The archive holds more entries than are looked at."
        )
        return None
    if entry.method == STORED and entry.size > MAX_STORED:
        return Part(job.view, entry.data, entry.size)
    if not job.budget.take(entry.size):
        facts.unverifiable("limits.unpacked", job.path, entry.name[:200], "The archive unpacks to more than is read.")
        return None
    try:
        data = zip_reader.read_member(job.view, entry, limit=job.limits.unpacked)
        if entry.method != STORED and zlib.crc32(data) != entry.crc:
            # On damaged streams PyTorch's inflate was seen to hand out uninitialised memory where zlib hands out data.
            facts.unverifiable(
                "zip.checksum", job.path, entry.name[:200], "A compressed entry is damaged: its check sum is wrong."
            )
        return data
    except zip_reader.ZipError as error:
        facts.unverifiable("zip.member", job.path, entry.name[:200], str(error))
        return None


def _torchscript(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """`torch.jit.load` runs the pickles in PyTorch's own machine and compiles the code beside them."""
    _torch_names(job, directory, facts)
    for entry in directory.entries:
        local = entry.name.partition("/")[2]
        if local.startswith(("data/", "constants/", "traced_inputs/")) and not local.endswith(".pkl"):
            facts.blocks.append((entry.name, entry.data, entry.size, entry_kind(entry)))
        elif local.startswith("code/") and local.endswith(".py"):
            data = _read(job, entry, facts)
            if data is None:
                continue
            source = data if isinstance(data, bytes) else data.read(0, data.size)
            facts.code.append(CodeFile(f"{job.path}!{entry.name}", hashlib.sha256(source).hexdigest(), "torchscript"))
            facts.regions["code"] += len(source)
            torchscript.judge(job, entry.name, source, facts)
        elif local.endswith((".debug_pkl", ".pkl")):
            _member(job, entry, facts, container="torchscript")
            if local == torchscript.MOBILE and (data := _read(job, entry, facts)) is not None:
                code = data if isinstance(data, bytes) else data.read(0, data.size)
                torchscript.judge_bytecode(job, entry.name, code, facts)
        else:
            _member(job, entry, facts)
    facts.weights_only = False
    facts.add(
        Finding(
            "torchscript.code",
            Severity.MEDIUM,
            job.path,
            "",
            "This is a TorchScript archive: it brings its own compiled code.",
            meaning="PyTorch runs parts of that code while loading, and the rest when the model is used.",
            remedy="Load it only from a publisher you trust, or use a safetensors version of the weights.",
        ),
        Verdict.REVIEW,
    )


def _torch_package(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    facts.weights_only = False
    for entry in directory.entries:
        local = entry.name.partition("/")[2]
        if not local.startswith(".data/") or local.endswith((".py", ".pkl")):
            _member(job, entry, facts)
    facts.add(
        Finding(
            "torch.package",
            Severity.HIGH,
            job.path,
            "",
            "This is a torch.package archive: loading it runs the Python code in it.",
            meaning="torch.package executes the archive's own modules with nothing in between.",
            remedy="Do not load it. Ask for the weights as safetensors.",
        ),
        Verdict.DANGER,
    )


def _npz(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    """`numpy.load` opens each member by its magic number, whatever it is called."""
    for entry in directory.entries:
        before = len(facts.blocks)
        _npz_member(job, entry, facts)
        if entry.method == STORED and len(facts.blocks) > before:
            facts.blocks[before:] = [(m, entry.data + o, n, d) for m, o, n, d in facts.blocks[before:]]


def _npz_member(job: Job, entry: ZipEntry, facts: Facts) -> None:
    if entry.method == STORED and job.view.read(entry.data, 6) == npy.MAGIC:
        from nbguard.scanners.kinds.npy import judge

        judged = judge(job.inside(Part(job.view, entry.data, entry.size), member=entry.name, container="npz"))
        judged.containers.clear()
        judged.regions.clear()
        facts.merge(judged)
        return
    _member(job, entry, facts)


def _any_zip(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    for entry in directory.entries:
        if job.view.read(entry.data, 6) == npy.MAGIC and entry.method == STORED:
            _npz_member(job, entry, facts)
        else:
            _member(job, entry, facts)
    if not directory.entries:
        facts.unverifiable("zip.empty", job.path, job.location, "The zip holds nothing.")


def _keras(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    keras.archive(
        job,
        directory,
        facts,
        member=lambda entry, container: _placed(job, entry, facts, container),
        read=lambda entry: _read(job, entry, facts),
    )


def _java(job: Job, directory: ZipDirectory, facts: Facts) -> None:
    java.archive(
        job,
        directory,
        facts,
        member=lambda entry: _member(job, entry, facts),
        read=lambda entry: _read(job, entry, facts),
    )


def _placed(job: Job, entry: ZipEntry, facts: Facts, container: str) -> None:
    """Judge a member, its blocks counted from the start of the file where it is stored as it is."""
    before = len(facts.blocks)
    _member(job, entry, facts, inside=container)
    if entry.method == STORED:
        facts.blocks[before:] = [(f"{entry.name}:{m}", entry.data + o, n, d) for m, o, n, d in facts.blocks[before:]]


_JUDGES = {
    "torch-zip": _torch_zip,
    "torchscript": _torchscript,
    "torch-package": _torch_package,
    "torch-export": torch_export.judge,
    "npz": _npz,
    "keras": _keras,
    "java": _java,
    "skops": skops.judge,
    "wheel": _package,
    "egg": _package,
    "sdist": _package,
    "zip": _any_zip,
}
FORMATS = (
    Format(
        "torch-zip",
        "PyTorch (`torch.save`)",
        (".pt", ".pth", ".bin", ".ckpt"),
        "a zip with a `data.pkl` in its folder",
        "the directory as PyTorch and as Python read it, and every pickle",
        "the numbers in the tensors",
        "any verdict, by its pickles; *unverifiable* where two readers could see two things",
    ),
    Format(
        "npz",
        "NumPy archive",
        (".npz",),
        "a zip of nothing but `.npy`",
        "the directory, the header of every array, and arrays of objects as the pickles they are",
        "the numbers in the arrays",
        "*safe* without objects; any verdict with them; *unverifiable* where two readers could see two things",
    ),
    Format(
        "zip",
        "zip",
        (".zip", ".jar", ".conda"),
        "the mark `PK` at its start, or its end behind anything else",
        "the directory against every header and descriptor of its own; every member as what it is; where names and"
        " links lead",
        "times, comments and other attributes",
        "what its members are; *danger* for names and links that lead out of the folder; *unverifiable* where two"
        " readers could see two things, where parts share bytes, and where it unpacks to more than the limits allow",
    ),
)
