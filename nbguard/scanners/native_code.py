"""What stands out in a library or a program: nobody can prove one harmless, but much can be told of it.

    judge(job, image, facts)

What it asks for and runs by itself comes from its headers (`formats/machine_code.py`); which of that is told, and what
has no honest explanation, stands with its reason in `rules/tables/native.toml`.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

from nbguard.artifact.model import NotScanned
from nbguard.formats.machine_code import Image, entropy
from nbguard.formats.view import Part
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

DENSE = 7.3
"""Bits for each byte; of 963 honest libraries none has code above 7."""
SMALLEST = 4_096
"""Bytes of code below which nothing can be said about how dense it is."""
_MEASURED = 64
_UPX = b"UPX!"
_RELATIVE = ("$ORIGIN", "${ORIGIN}", "@loader_path", "@executable_path", "@rpath")
_AOTI = "AOTInductorModelContainer"
_OVERLAP = 64


def judge(job: Job, images: list[Image], facts: Facts) -> None:
    """Add everything that is to be said of these images, which are one file."""
    texts = pin(job, facts)
    for image in images:
        for sentence in image.problems:
            facts.unverifiable(
                "native.lies",
                job.path,
                job.location,
                sentence,
                meaning="What tools see of it is then not what is loaded.",
                remedy="Do not load it. Get it again from its publisher.",
            )
        _library(job, image, facts)
        harm(job, image, facts)
        _memory(job, image, facts)
        _elsewhere(job, image, facts)
        _packed(job, image, facts)
    disguised(job, facts)
    for rule, what, reason, text in texts:
        danger(job, facts, rule, f"It holds {what}.", evidence=text, meaning=reason)
    _appended(job, images, facts)


def pin(job: Job, facts: Facts) -> list[tuple[str, str, str, str]]:
    """List the file with its digest; the texts in it that have no honest explanation: (rule, what, reason, text)."""
    digest = hashlib.sha256()
    found: dict[bytes, None] = {}
    pattern, meant = _texts()
    tail = b""
    for at in range(0, job.size, 1 << 20):
        piece = job.view.read(at, 1 << 20)
        digest.update(piece)
        for match in pattern.finditer(tail + piece):
            found[match[0]] = None
        tail = piece[-_OVERLAP:]
    name = f"{job.path}!{job.member}" if job.member else job.path
    facts.native.append(CodeFile(name[:500], digest.hexdigest(), "native"))
    return [(*meant[text], text.decode("latin-1")) for text in found]


@lru_cache(maxsize=1)
def _texts() -> tuple[re.Pattern[bytes], dict[bytes, tuple[str, str, str]]]:
    meant: dict[bytes, tuple[str, str, str]] = {}
    for group in table("native")["text"]:
        for text in group["texts"]:
            meant[text.encode()] = (group["rule"], group["what"], group["reason"])
    return re.compile(b"|".join(re.escape(t) for t in meant)), meant


def _library(job: Job, image: Image, facts: Facts) -> None:
    imports = plain(image.imports)
    groups = [(g["what"], sorted(imports.intersection(g["names"].split()))) for g in table("native")["reach"]]
    reaches = [what for what, names in groups if names]
    sentence = f"This is a {image.kind} ({image.container}, for {image.machine}): code that nobody can prove harmless."
    modules = sorted(n.removeprefix("PyInit_") for n in image.exports if n.startswith("PyInit_"))
    if modules:
        sentence += f" Python imports it as {', '.join(modules[:3])[:80]}."
    if reaches:
        sentence += f" It can {', '.join(reaches)}."
    if image.static:
        sentence += " It asks for nothing by name, so that nobody can see what it reaches."
    evidence = [f"can {what}: {', '.join(names[:8])}" for what, names in groups if names]
    if image.starts:
        evidence.append(f"runs by itself: {', '.join(image.starts[:6])}")
    if image.libraries:
        evidence.append(f"loads: {', '.join(image.libraries[:12])}")
    facts.add(
        Finding(
            "native.library",
            Severity.HIGH,
            job.path,
            job.location,
            sentence[:600],
            evidence="\n".join(line[:300] for line in evidence)[:2000],
            meaning="Code that loads it runs it with all your rights; its constructors run at once."
            if image.starts
            else "Code that loads it runs it with all your rights.",
            remedy="Install native parts from a package you trust instead of taking them from a model's folder.",
        ),
        Verdict.REVIEW,
    )


def plain(names: set[str]) -> set[str]:
    """Names without the versions that linkers add: `fork@GLIBC_2.2.5`."""
    return {name.partition("@")[0] for name in names}


def harm(job: Job, image: Image, facts: Facts) -> None:
    """What it asks for that has no honest explanation."""
    imports = plain(image.imports)
    for rule in table("native")["harm"]:
        wanted: list[Any] = [frozenset(names.split()) for names in rule["all"]]
        met = [sorted(names & imports) for names in wanted]
        if all(met):
            named = ", ".join(names[0] for names in met)
            danger(job, facts, rule["rule"], f"It {rule['what']} ({named}).", meaning=rule["reason"])
    for auditor in image.auditors[:10]:
        kind, _, name = auditor.partition(":")
        if kind == "audit":
            reason = (
                "It is told of every function that any library here calls; only tools that trace programs use that."
            )
            danger(job, facts, "native.audit", f"It has {ascii(name)[1:-1][:100]} watch this program.", meaning=reason)
        elif kind == "environment" and name.startswith("DYLD_INSERT"):
            reason = "It gets a further library into the program, which is how programs are taken over."
            danger(job, facts, "native.audit", f"It sets {ascii(name)[1:-1][:100]}.", meaning=reason)
        else:
            _odd(job, facts, "native.stands-in", f"It has functions of {ascii(name)[1:-1][:100]} stand in for its own.")


def _memory(job: Job, image: Image, facts: Facts) -> None:
    if image.writable_code:
        where = ", ".join(image.writable_code[:4])[:200]
        _odd(
            job,
            facts,
            "native.writable-code",
            f"Some of it is writable and executable at once: {where}.",
            severity=Severity.HIGH,
            meaning="Code that changes itself while it runs: packed and hidden code does, and hardly any other.",
        )
    if image.executable_stack:
        _odd(
            job,
            facts,
            "native.stack",
            "It asks for a stack that can be executed.",
            meaning="That takes a protection away from the whole program; old assembly code asks for it by oversight.",
        )


def _elsewhere(job: Job, image: Image, facts: Facts) -> None:
    places = table("native")["places"]
    shared = tuple(places["shared"])
    odd = [p for p in image.search_paths if p and _loose(p, shared)]
    if "" in image.search_paths and len(image.search_paths) > 1:
        odd.append("(the folder that happens to be the current one)")
    odd += [name for name in image.libraries if image.container == "ELF" and "/" in name and _loose(name, shared)]
    if odd:
        _odd(
            job,
            facts,
            "native.search-path",
            "It has its libraries looked for in folders where others may put theirs.",
            evidence="\n".join(ascii(p)[1:-1][:200] for p in odd[:10]),
            meaning="Whoever can write there decides what is loaded. Such places are often left over from building it.",
        )
    loader = image.interpreter
    if loader and (not loader.startswith("/") or loader.startswith(shared)):
        reason = "The system starts that file in the program's place, whatever it is."
        what = f"It has itself started by {ascii(loader)[1:-1][:150]}."
        danger(job, facts, "native.interpreter", what, meaning=reason)
    elif loader and (not loader.startswith(tuple(places["loaders"])) or "/../" in loader):
        _odd(job, facts, "native.interpreter", f"It has itself started by {ascii(loader)[1:-1][:150]}.")


def _loose(path: str, shared: tuple[str, ...]) -> bool:
    return not path.startswith(("/", *_RELATIVE)) or f"{path}/".startswith(shared)


def _packed(job: Job, image: Image, facts: Facts) -> None:
    names = sorted(table("native")["packers"]["sections"].intersection(image.parts))
    packed = _UPX in job.view.read(0, 4_096) or _UPX in job.view.read(max(0, image.end - 64), 64)
    if names or packed:
        _hidden(job, facts, f"It is packed ({', '.join(names) or 'UPX'}).")
        return
    if image.encrypted:
        _hidden(job, facts, "Its code is encrypted.")
        return
    for offset, length in sorted(image.code, key=lambda part: -part[1])[:_MEASURED]:
        if length >= SMALLEST and entropy(job.view, offset, length) > DENSE:
            _hidden(job, facts, "Its code is compressed or encrypted: it is too even for instructions.")
            return


def _hidden(job: Job, facts: Facts, sentence: str) -> None:
    facts.unverifiable(
        "native.packed",
        job.path,
        job.location,
        sentence,
        meaning="What it really does appears in memory only, when it runs.",
        remedy="Do not load it. Libraries for models are not packed.",
    )


def disguised(job: Job, facts: Facts) -> None:
    """A program under a name for data."""
    if job.suffix in table("native")["disguise"]["suffixes"]:
        danger(
            job,
            facts,
            "native.disguised",
            f"It is a library or a program, and its name ends in {job.suffix}, as if it were data.",
            meaning=table("native")["disguise"]["reason"],
        )


def _appended(job: Job, images: list[Image], facts: Facts) -> None:
    """What follows behind the last byte that the headers account for."""
    end = max(image.end for image in images)
    start = _first_byte(job, end)
    if start >= job.size or any(image.problems for image in images):
        return
    if any(_AOTI in name for image in images for name in image.exports):
        facts.summary.append("Weights lie behind its code, as AOTInductor puts them.")
        return
    from nbguard.scanners.registry import examine

    inner = examine(job.inside(Part(job.view, start, job.size - start), member="(appended)", container="appended"))
    inner.regions.clear()
    inner.containers.clear()
    known = inner.format not in ("", "unknown")
    what = f"({inner.format[:40]})" if known else "of no known kind"
    facts.add(
        Finding(
            "native.appended",
            Severity.HIGH,
            job.path,
            job.location,
            f"{job.size - start:,} bytes {what} are appended to it, which none of its headers knows.",
            meaning="Programs carry hidden parts that way, and unpack them when they run; so do some installers.",
            remedy="Find out what they are before you load it.",
        ),
        Verdict.REVIEW if known else Verdict.UNVERIFIABLE,
    )
    if known:
        facts.merge(inner)
    else:
        place = f"{job.path}!{job.member}" if job.member else job.path
        facts.not_scanned.append(NotScanned(place[:500], "bytes of no known format behind a native file"))


def _first_byte(job: Job, at: int) -> int:
    """The first byte from there on that is not zero; linkers fill up with zeros."""
    while at < job.size:
        piece = job.view.read(at, 1 << 20)
        left = piece.lstrip(b"\0")
        if left or not piece:
            return at + len(piece) - len(left)
        at += len(piece)
    return job.size


def danger(job: Job, facts: Facts, rule: str, sentence: str, *, meaning: str, evidence: str = "") -> None:
    """Add a finding of harm."""
    facts.add(
        Finding(
            rule,
            Severity.CRITICAL,
            job.path,
            job.location,
            sentence,
            evidence=evidence[:500],
            meaning=meaning,
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


def _odd(
    job: Job,
    facts: Facts,
    rule: str,
    sentence: str,
    *,
    severity: Severity = Severity.MEDIUM,
    meaning: str = "Honest files hardly ever do that.",
    evidence: str = "",
) -> None:
    facts.add(
        Finding(
            rule,
            severity,
            job.path,
            job.location,
            sentence,
            evidence=evidence[:1000],
            meaning=meaning,
            remedy="Ask the publisher why.",
        ),
        Verdict.REVIEW,
    )
