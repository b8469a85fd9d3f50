"""Java: classes and archives of them, and serialized objects.

facts = SCANNER.scan(job)
archive(job, directory, facts, read)        # what the scanner of zips asks for
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from nbguard.artifact.model import NotScanned
from nbguard.formats.java import STREAM, Compiled, JavaError, is_class, read_class, stream_classes
from nbguard.formats.view import View
from nbguard.formats.zip_reader import ZipDirectory, ZipEntry
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

MAX_CLASS = 16 << 20
MAX_STREAM = 256 << 20
"""Bytes of a serialized object in which names of classes are looked for."""


class JavaScanner:
    name = "java"

    def recognise(self, job: Job) -> bool:
        return is_class(job.head) or job.head.startswith(STREAM)

    def scan(self, job: Job) -> Facts:
        if job.head.startswith(STREAM):
            return _serialized(job)
        data = job.view.read(0, min(job.size, MAX_CLASS))
        facts = plain(job, "java", "code")
        where = f"{job.path}!{job.member}" if job.member else job.path
        facts.native.append(CodeFile(where[:500], hashlib.sha256(data).hexdigest(), "native"))
        try:
            if job.size > MAX_CLASS:
                raise JavaError("The Java class is larger than any that is written.")
            _classes(job, [read_class(data)], facts, "a Java class")
        except JavaError as error:
            facts.unverifiable("java.malformed", job.path, job.location, str(error))
        return facts


SCANNER = JavaScanner()


def is_archive(names: Sequence[str]) -> bool:
    """Whether a zip is what `java` takes for classes: some are in it, or the list that belongs to them."""
    return any(n.endswith(".class") or n == "META-INF/MANIFEST.MF" for n in names)


def archive(
    job: Job,
    directory: ZipDirectory,
    facts: Facts,
    *,
    member: Callable[[ZipEntry], None],
    read: Callable[[ZipEntry], bytes | View | None],
) -> None:
    """Judge an archive of classes: these together, everything else by itself."""
    found: list[Compiled] = []
    for entry in directory.entries:
        if not entry.name.endswith(".class"):
            member(entry)
            continue
        data = read(entry)
        if data is None:
            continue
        code = data if isinstance(data, bytes) else data.read(0, MAX_CLASS)
        facts.native.append(CodeFile(f"{job.path}!{entry.name}"[:500], hashlib.sha256(code).hexdigest(), "native"))
        facts.regions["code"] += entry.size
        try:
            found.append(read_class(code))
        except JavaError as error:
            facts.unverifiable("java.malformed", job.path, entry.name[:200], str(error))
    _classes(job, found, facts, f"an archive of {len(found)} Java classes")


def _classes(job: Job, classes: list[Compiled], facts: Facts, called: str) -> None:
    does: list[str] = []
    evidence: list[str] = []
    for group in table("java")["reach"]:
        names = frozenset(group["names"].split())
        users = [(c.name, sorted(c.references & names)) for c in classes if c.references & names]
        if users:
            does.append(group["what"])
            evidence.append(f"{group['what']}: " + "; ".join(f"{n}: {', '.join(u[:3])}" for n, u in users[:5]))
    if any(c.native for c in classes):
        does.append("calls machine code")
    sentence = f"This is {called}: code that runs in Java's machine."
    if does:
        sentence += f" It {', '.join(does)}."
    facts.add(
        Finding(
            "java.code",
            Severity.HIGH,
            job.path,
            job.location,
            sentence[:500],
            evidence="\n".join(line[:400] for line in evidence)[:2000],
            meaning="Java runs it with all your rights; nobody can prove that it does no harm.",
            remedy="Install Java code from a source that you trust instead of taking it from a model's folder.",
        ),
        Verdict.REVIEW,
    )


def _serialized(job: Job) -> Facts:
    facts = unverifiable(
        job,
        "java-serialized",
        "java.serialized",
        "This is a serialized Java object: Java makes objects of any class while reading it, and calls their methods.",
        meaning="It is Java's pickle. What its classes do while they are read, only these classes know.",
        remedy="Ask for the model as PMML, ONNX or in another format that is made for data.",
    )
    names = stream_classes(job.view.read(0, min(job.size, MAX_STREAM)))
    facts.not_scanned.append(NotScanned(job.path, "a serialized Java object: its classes read it themselves"))
    harmful = sorted(names & table("java")["gadgets"]["names"])
    if harmful:
        facts.add(
            Finding(
                "java.gadget",
                Severity.CRITICAL,
                job.path,
                job.location,
                f"It is made of {', '.join(harmful[:4])[:300]}.",
                evidence="\n".join(sorted(names))[:1500],
                meaning=table("java")["gadgets"]["why"],
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )
    elif names:
        facts.summary.append(f"It names the classes {', '.join(sorted(names)[:6])[:200]}.")
    return facts


FORMATS = (
    Format(
        "java",
        "Java classes and archives of them",
        (".class", ".jar"),
        "the mark `\\xca\\xfe\\xba\\xbe` and a version of Java; a zip with classes or `META-INF/MANIFEST.MF`",
        "what each class refers to (programs, network, further code, serialized objects, files); every other member of "
        "an archive by itself",
        "the instructions",
        "*review*; *unverifiable* where a class cannot be read",
    ),
    Format(
        "java-serialized",
        "Serialized Java objects",
        (".ser", ".model"),
        "the mark `\\xac\\xed\\x00\\x05`",
        "the names of its classes, compared with those that run commands",
        "the objects: what a class writes itself only that class can read",
        "*unverifiable*, since reading it makes objects of any class; *danger* for classes that are known to run code",
    ),
)
