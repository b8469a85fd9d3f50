"""From open files to one report.

with open_path("model.pt") as opened:
    report = scan_opened(opened)
report.verdict, report.summary
"""

from __future__ import annotations

import dataclasses
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from nbguard.artifact.model import Artifact, ArtifactFile, NotScanned, canonical_digest
from nbguard.artifact.remote_repo import RemoteFile, told
from nbguard.artifact.sources import HELD_OPEN, Opened, OpenedFile
from nbguard.errors import TargetError
from nbguard.report.model import Contract, FileReport, Finding, Report, Severity, Verdict
from nbguard.scanners.base import Limits
from nbguard.scanners.companions import settle
from nbguard.scanners.evidence import decompiled
from nbguard.scanners.facts import Facts, merge_globals
from nbguard.scanners.members import BESIDE
from nbguard.scanners.other import looked_for
from nbguard.scanners.pool import POOL, Wanted, scan_files, unread
from nbguard.scanners.references import resolve
from nbguard.scanners.sentences import summary
from nbguard.scanners.shards import compare
from nbguard.scanners.worker import MAX_FILES

Progress = Callable[[float, str], None]
"""(share that is done, 0 to 1; what is being read)."""
SMALL = 4 << 20
"""Bytes of all the files that go to a worker with one request; a larger file goes alone."""
DATA = frozenset(
    {
        "text",
        "json",
        "jinja-template",
        "media",
        "empty",
        "sentencepiece",
        "tensorboard",
        "python",
        "unknown",
        "xml",
        *BESIDE,
    }
)
"""Formats that by themselves make no folder a model."""
_DOCUMENTS = (
    "readme",
    "license",
    "licence",
    "notice",
    "changelog",
    "citation",
    "use_policy",
    "contributing",
    "copying",
)
_DOCUMENT_SUFFIXES = frozenset(
    {".md", ".rst", ".csv", ".tsv", ".log", ".html", ".pdf", ".ipynb", ".gitattributes", ".gitignore"}
)


def scan_opened(
    opened: Opened, *, loader: str | None = None, limits: Limits | None = None, progress: Progress | None = None
) -> Report:
    """Judge every file of `opened` in the worker, and put the findings, the contract and the verdict together.

    Whatever goes wrong with a file is in the report as unverifiable; nothing but an interrupt is raised.
    """
    started = time.monotonic()
    limits = limits or Limits()
    facts = _scan_all(opened, loader, limits, progress)
    if any(found.format == "python" for found in facts.values()):
        from nbguard.scanners.source.across import join

        join(opened, facts, limits)
    resolve(opened, facts)
    settle(opened, facts)
    compare(opened, facts)
    if any("pyc" in found.format for found in facts.values()):
        from nbguard.scanners.kinds import pyc

        pyc.settle(opened, facts)
    inert = {path for path, found in facts.items() if _is_inert(path, found, opened, facts)}
    for file in opened.files:
        if file.path not in inert and facts[file.path].verdict is Verdict.DANGER:
            facts[file.path].findings = decompiled(file, facts[file.path], limits)
    return _report(told(opened), facts, inert, loader, time.monotonic() - started, limits.whole)


def scan(
    target: str,
    *,
    revision: str | None = None,
    loader: str | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
    then: Callable[[Report, Opened], Report] | None = None,
) -> Report:
    """Judge a path, or a repository on the Hub (`org/name`, `hf://org/name@revision`), without loading anything.

    Args:
        then: what else is to be said in the report, told while the target is open.

    Raises:
        TargetError: it cannot be found or read, or it is a folder without a model. One plain sentence.
    """
    POOL.prewarm()
    from nbguard.scanners.targets import open_target

    with open_target(target, revision, remote=True) as opened:
        report = scan_opened(opened, loader=loader, limits=limits, progress=progress)
        if opened.kind == "directory" and not any(holds_model(f) for f in report.files):
            raise TargetError(f"{opened.target} holds no model and no code that comes with one.")
        return report if then is None else then(report, opened)


def holds_model(file: FileReport) -> bool:
    """Whether the file is something that a loader of models opens, or code for one."""
    return not file.inert and (file.format not in DATA or file.format == "python" or file.verdict is not Verdict.SAFE)


def _scan_all(opened: Opened, loader: str | None, limits: Limits, progress: Progress | None) -> dict[str, Facts]:
    total = sum(f.size for f in opened.files) + 1
    done = 0
    furthest = 0.0
    out: dict[str, Facts] = {}
    names = sorted(f.path for f in opened.files)
    single = opened.kind in ("path", "stream")
    for number, batch in _batches(opened.files):

        def tick(at: int, share: float, batch: tuple[OpenedFile, ...] = batch, done: int = done) -> None:
            nonlocal furthest  # a worker that is busy only says that it is there, with a negative share
            here = done + sum(f.size for f in batch[:at]) + max(0.0, share) * batch[at].size
            furthest = max(furthest, min(1.0, here / total))
            if progress is not None:
                progress(furthest, batch[at].path)

        tick(0, 0.0)
        out.update(_scan_batch(batch, names, loader if single and number == 0 else None, limits, tick))
        for at, file in enumerate(batch, number):
            if at >= HELD_OPEN:
                file.park()
            done += file.size
    if progress is not None:
        progress(1.0, "")
    return out


def _batches(files: tuple[OpenedFile, ...]) -> Iterator[tuple[int, tuple[OpenedFile, ...]]]:
    """(number of its first file, files): small ones together, so that most of their time is not spent on messages."""
    at = 0
    while at < len(files):
        end, size = at + 1, files[at].size
        while end < min(len(files), at + MAX_FILES) and size + files[end].size <= SMALL:
            size += files[end].size
            end += 1
        yield at, files[at:end]
        at = end


def _scan_batch(
    batch: tuple[OpenedFile, ...],
    names: list[str],
    loader: str | None,
    limits: Limits,
    tick: Callable[[int, float], None],
) -> Iterator[tuple[str, Facts]]:
    wanted: list[Wanted] = []
    problems: dict[str, Facts] = {}
    for file in batch:
        remote = file.remote if isinstance(file, RemoteFile) and file.ranged else None
        if remote is not None and remote.failed:
            problems[file.path] = unread(file.path, remote)
            continue
        try:
            wanted.append(Wanted(file.fd, file.path, loader, file.path.rpartition("/")[0], remote))
        except TargetError as error:
            problems[file.path] = _changed(file, str(error))
    beside = {folder: _below(folder, names) for folder in {w.companions for w in wanted}}
    judged = zip(wanted, scan_files(wanted, limits, beside, tick), strict=True)
    found = {w.path: facts for w, facts in judged} | problems
    for file in batch:
        facts = found[file.path]
        folder = file.path.rpartition("/")[0]
        facts.companions = [f"{folder}/{name}" if folder else name for name in facts.companions]
        if file.path not in problems and not file.sealed and not file.unchanged():
            facts.unverifiable("source.changed", file.path, "", "The file was changed while it was being looked at.")
        yield file.path, facts


def _changed(file: OpenedFile, why: str) -> Facts:
    facts = Facts(format="unknown", regions={"unknown": file.size})
    facts.unverifiable("source.changed", file.path, "", why)
    return facts


def _below(folder: str, names: list[str]) -> list[str]:
    """The sorted `names` below a folder, relative to it: models look there for arrays and data of their own."""
    if not folder:
        return names
    start, end = bisect_left(names, f"{folder}/"), bisect_left(names, f"{folder}0")  # "0" is what comes behind "/"
    return [name[len(folder) + 1 :] for name in names[start:end]]


def _is_inert(path: str, found: Facts, opened: Opened, facts: dict[str, Facts]) -> bool:
    """Lies beside the model and no loader opens it. The only file of a target is never inert."""
    if opened.kind in ("path", "stream"):
        return path != opened.files[0].path and path not in facts[opened.files[0].path].companions
    name = PurePosixPath(path).name.lower()
    if looked_for(path):
        return False
    if found.format in ("media", "tensorboard"):
        return True
    if found.format in BESIDE:
        return found.verdict is not Verdict.DANGER
    if found.format == "text" and found.verdict is Verdict.SAFE:
        stem = name.split(".")[0]
        return stem in _DOCUMENTS or PurePosixPath(name).suffix in _DOCUMENT_SUFFIXES or name in _DOCUMENT_SUFFIXES
    if found.format == "empty":
        return not name.endswith((".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".safetensors", ".npy", ".npz"))
    return found.format == "python" and "py:unreferenced" in found.references


def _report(
    opened: Opened, facts: dict[str, Facts], inert: set[str], loader: str | None, seconds: float, whole: int
) -> Report:
    from nbguard import rules

    loaded = [facts[f.path] for f in opened.files if f.path not in inert]
    files = tuple(_file_report(f, facts[f.path], f.path in inert, whole) for f in opened.files)
    files += tuple(FileReport(n.path, 0, "unreachable", Verdict.UNVERIFIABLE) for n in opened.unreachable)
    contract = Contract(
        programs=tuple(p for f in loaded for p in f.programs),
        globals=tuple(merge_globals([g for f in loaded for g in f.globals])),
        calls=tuple(c for f in loaded for c in f.calls),
        code=tuple(c for f in loaded for c in f.code),
        native=tuple(c for f in loaded for c in f.native),
        companions=tuple(sorted({c for f in loaded for c in f.companions})),
        containers={k: v for f in loaded for k, v in f.containers.items()},
        layout={p: d for p, f in facts.items() if p not in inert and (d := f.layout_digest)},
        effects=tuple(sorted({e for f in loaded for e in f.effects})),
    )
    findings = [f for found in facts.values() for f in found.findings]
    findings += [
        Finding(
            "source.unreachable",
            Severity.HIGH,
            n.path,
            "",
            f"This file could not be opened: {n.why}",
            meaning="A loader may open it all the same.",
            remedy="Copy the files into one folder and scan that.",
        )
        for n in opened.unreachable
    ]
    findings.sort(key=lambda f: (-f.severity, f.file, f.location))
    report = Report(
        target=opened.target,
        artifact=Artifact(
            opened.target,
            opened.kind,
            tuple(ArtifactFile(f.path, f.size, f.format, f.pin, f.sha256, f.inert) for f in files),
            opened.commit,
        ),
        files=files,
        findings=tuple(findings),
        contract=contract,
        not_scanned=(
            *(n for f in facts.values() for n in f.not_scanned),
            *opened.not_opened,
            *opened.unreachable,
        ),
        provenance={**opened.provenance, **({"commit": opened.commit} if opened.commit else {})},
        rules_version=rules.VERSION,
        weights_only=all(f.weights_only for f in loaded),
        seconds=seconds,
    )
    return dataclasses.replace(report, summary=summary(report, facts))


def _file_report(file: OpenedFile, found: Facts, inert: bool, whole: int) -> FileReport:
    pin, regions = _pin(file, found, whole), dict(found.regions)
    return FileReport(file.path, file.size, found.format, found.verdict, inert, found.sha256, pin, regions)


def _pin(file: OpenedFile, found: Facts, whole: int) -> str:
    """The digest of all bytes where there is one, else that of what executes and of where the data lies.

    Of a file that has not been downloaded it is the digest that the server lists, wherever it would be that of all
    bytes after the download, which compares the two.
    """
    if found.sha256:
        return f"sha256:{found.sha256}"
    if isinstance(file, RemoteFile) and file.ranged and file.digest and file.size <= whole:
        return f"sha256:{file.digest}"
    return "layout:" + canonical_digest(
        [
            "nbguard.layout/1",
            file.size,
            found.format,
            sorted(p.sha256 for p in found.programs),
            sorted(c.sha256 for c in found.code),
            sorted(found.blocks),
            found.marks,
        ]
    )


__all__ = ["NotScanned", "Progress", "scan", "scan_opened"]
