"""llamafiles: a program with the weights that it runs.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

from nbguard.formats import llamafile, pe
from nbguard.formats.machine_code import NativeError
from nbguard.formats.zip_reader import DEFLATED, STORED, ZipDirectory, ZipEntry, ZipError, read_member
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import native_code
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table


class LlamafileScanner:
    name = "llamafile"

    def recognise(self, job: Job) -> bool:
        return llamafile.is_one(job.head)

    def scan(self, job: Job) -> Facts:
        facts = plain(job, "llamafile", "code")
        for rule, what, reason, text in native_code.pin(job, facts):
            native_code.danger(job, facts, rule, f"It holds {what}.", evidence=text, meaning=reason)
        native_code.disguised(job, facts)
        try:
            program = llamafile.read(job.view)
        except ZipError as error:
            facts.unverifiable("llamafile.zip", job.path, job.location, str(error))
            return facts
        directory = program.directory
        weights = [e for e in directory.entries if _begins(job, e, b"GGUF")] if directory else []
        _program(job, program, weights, facts)
        if directory is not None:
            self.members(job, directory, facts)
            for entry in directory.entries:
                if entry.name.rpartition("/")[2] == llamafile.ARGUMENTS:
                    _arguments(job, entry, facts)
        facts.format = "llamafile"
        facts.containers = {} if job.member else {job.path: "llamafile"}
        return facts

    @staticmethod
    def members(job: Job, directory: ZipDirectory, facts: Facts) -> None:
        """Judge the zip as every program that opens zips finds it."""
        from nbguard.scanners.kinds.zips import SCANNER as ZIPS

        inner = ZIPS.judge(job, directory)
        inner.containers.clear()
        inner.regions.clear()
        facts.merge(inner)


SCANNER = LlamafileScanner()


def _begins(job: Job, entry: ZipEntry, mark: bytes) -> bool:
    return entry.method == STORED and job.view.read(entry.data, len(mark)) == mark


def _program(job: Job, program: llamafile.Program, weights: list[ZipEntry], facts: Facts) -> None:
    systems = ", ".join(program.systems) or "whatever system starts it"
    evidence = [f"weights: {e.name[:100]} ({e.size:,} bytes)" for e in weights[:5]]
    evidence.append(f"shell script:\n{program.stub[:1200]}")
    facts.add(
        Finding(
            "llamafile.program",
            Severity.HIGH,
            job.path,
            job.location,
            f"This is a llamafile: a program for {systems} that carries a model in it, and no model file.",
            evidence="\n".join(evidence)[:2000],
            meaning="Starting it runs it with all your rights, and nobody can prove a program harmless.",
            remedy="Take the weights out of it with `unzip` and load those; or get the .gguf from its publisher.",
        ),
        Verdict.REVIEW,
    )
    if not weights:
        facts.add(
            Finding(
                "llamafile.no-weights",
                Severity.HIGH,
                job.path,
                job.location,
                "There are no weights in it: it is a program and nothing else.",
                meaning="It needs a model from elsewhere, or is no llamafile at all.",
                remedy="Do not start it unless you know what it is.",
            ),
            Verdict.REVIEW,
        )
    if "Windows" not in program.systems:
        return
    try:
        image = pe.read(job.view)
    except NativeError:
        return  # the first bytes alone, without a program for Windows
    native_code.harm(job, image, facts)


def _arguments(job: Job, entry: ZipEntry, facts: Facts) -> None:
    if entry.method not in (STORED, DEFLATED):
        return
    try:
        words = llamafile.arguments(read_member(job.view, entry, limit=llamafile.MAX_ARGUMENTS))
    except ZipError as error:
        facts.unverifiable("llamafile.arguments", job.path, entry.name[:200], str(error))
        return
    does: list[str] = []
    for option in table("llamafile")["option"]:
        for at, word in enumerate(words):
            flag, _, given = word.partition("=")
            value = given or (words[at + 1] if at + 1 < len(words) else "")
            if flag in option["words"].split() and value not in option.get("harmless", "").split():
                does.append(option["what"])
                break
    facts.summary.append(f"It starts with: {' '.join(words)[:150]}")
    if does:
        facts.add(
            Finding(
                "llamafile.arguments",
                Severity.HIGH,
                job.path,
                entry.name[:200],
                f"With the command line that it brings, it {', and '.join(does)}."[:400],
                evidence="\n".join(words)[:1000],
                meaning="It does so as soon as it is started, without asking.",
                remedy="Start it with a command line of your own, or not at all.",
            ),
            Verdict.REVIEW,
        )


FORMATS = (
    Format(
        "llamafile",
        "llamafile",
        (".llamafile", ".exe"),
        "the marks of a program for every system at its start (`MZqFpD='`, `jartsr='`)",
        "the shell script that it begins with, the command line it starts with (`.args`), and everything in the zip at "
        "its end: the GGUF files as such, libraries as such",
        "the program's instructions: nobody can tell by looking what they do",
        "*review*: it is a program, whose weights can be taken out; *danger* or *unverifiable* for what is in it",
        untested="it is made of a prebuilt program of some hundred megabytes that no package brings; tests write one",
    ),
)
