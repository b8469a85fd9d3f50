"""What every face says: the verdicts, the severities and the contract in plain words.

    VERDICTS[Verdict.DANGER].headline      # 'Loading this can run code that nobody explained.'
    contract_sentences(report)             # ['It may run 1 pickle program, …', …]

Strings in here are ours. Text from a model passes through `report.escape` in the renderer that shows it.
"""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from nbguard.report.escape import terminal
from nbguard.report.model import Finding, Report, Severity, Verdict


@dataclass(frozen=True)
class VerdictWords:
    """How one verdict is told: never by colour alone."""

    name: str
    symbol: str
    """A character of its own, so that the verdicts differ in black and white too."""
    headline: str
    """What it means for a load, in one sentence."""


VERDICTS: dict[Verdict, VerdictWords] = {
    Verdict.SAFE: VerdictWords("Safe", "✓", "Only data; loading it runs no code of the model's."),
    Verdict.REVIEW: VerdictWords(
        "Review", "!", "Nothing known to be harmful, but a person should look before it loads."
    ),
    Verdict.UNVERIFIABLE: VerdictWords(
        "Unverifiable", "?", "It could not be read to the end, so nobody can say what loading it would do."
    ),
    Verdict.DANGER: VerdictWords("Danger", "✕", "Loading this can run code that does harm."),
}

SEVERITIES: dict[Severity, str] = {
    Severity.CRITICAL: "Critical",
    Severity.HIGH: "High",
    Severity.MEDIUM: "Medium",
    Severity.LOW: "Low",
    Severity.INFO: "Note",
}

REGIONS: tuple[tuple[str, str, str], ...] = (
    ("data", "Data", "numbers and text that are only stored"),
    ("code", "Code", "pickle programs and source that a loader would run"),
    ("unknown", "Unknown", "bytes that could not be explained"),
)
"""Key in `FileReport.regions`, label, meaning; in the order of the small picture."""

VERBS = {
    "named": "referred to",
    "newobj": "made",
    "reduce": "called",
    "build": "given state",
    "mutated": "filled",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a load, for a report that stays in the notebook."""

    kind: Literal["loaded", "refused", "stopped"]
    text: str
    """One plain sentence, of our own words and the person's reason."""


def size(count: int) -> str:
    """`count` bytes for a person, in powers of 1,000."""
    if count < 1_000:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1_000
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 99.5 else f"{value:.1f} {unit}"
    raise AssertionError("unreachable: the last unit takes everything")


WHO = (
    "publisher", "owner", "account since", "created", "last change", "downloads in 30 days", "likes", "library",
    "licence", "gated", "the Hub's scanners",
)  # fmt: skip
"""Of a report's provenance: what a Hub says of who published it, in this order."""
MOST_FACTS = 20


def origin(report: Report) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The report's provenance in two parts: who published it, and where it came from."""
    said = report.provenance
    if "owner" not in said:
        return [], list(said.items())[:MOST_FACTS]
    who = [(key, said[key]) for key in WHO if key in said]
    return who, [(key, value) for key, value in said.items() if key not in WHO][:MOST_FACTS]


def fact(key: str, value: str) -> str:
    """One value of a report's provenance, for a person."""
    return size(int(value)) if key == "size" and value.isascii() and value.isdigit() and len(value) < 20 else value


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `2 files`, `1,000 files`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def summary(report: Report) -> tuple[str, ...]:
    """The scanner's sentences of what loading would do, or one of our own where it gave none."""
    first, *rest = report.summary or (VERDICTS[report.verdict].headline,)
    return (first, *coming(report), *rest)


def coming(report: Report) -> tuple[str, ...]:
    """That it is not here yet, in a sentence; nothing where it is."""
    said = report.provenance.get("to download")
    return (f"Accepting it downloads {said}.",) if said else ()


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By severity, the worst first; within one severity in the scanner's order."""
    return sorted(findings, key=lambda f: -int(f.severity))


@dataclass(frozen=True)
class FindingGroup:
    """Findings that say the same of several places."""

    first: Finding
    places: tuple[tuple[str, str], ...]
    """(file, location) of each."""


def grouped(findings: Iterable[Finding]) -> list[FindingGroup]:
    """The worst first, those that differ only in their place put together, so that many cannot hide one."""
    groups: dict[tuple[str, Severity, str, str], list[Finding]] = {}
    for finding in worst_first(findings):
        groups.setdefault((finding.rule, finding.severity, finding.message, finding.evidence), []).append(finding)
    return [FindingGroup(rows[0], tuple((f.file, f.location) for f in rows)) for rows in groups.values()]


def place(file: str, location: str) -> str:
    """`weights.bin, data.pkl @ 0x12`. Not escaped."""
    return f"{file}, {location}" if location else file


_EFFECTS = (
    (("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "pty.", "subprocess."),
     "start programs with your rights"),
    (("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser."), "open connections"),
    (("open", "os.", "shutil.", "tempfile.", "mmap."), "read, write or remove files"),
    (("exec", "compile", "code.", "import", "marshal."), "run source code"),
    (("ctypes.",), "reach into memory"),
    (("pickle.",), "unpickle further programs"),
)  # fmt: skip
"""Beginnings of audit events (docs.python.org/3/library/audit_events.html), and what they come to."""


def _effect(event: str) -> str:
    for beginnings, told in _EFFECTS:
        if any(event == b or (event.startswith(b) and b.endswith((".", "spawn", "exec", "fork"))) for b in beginnings):
            return told
    return f"cause “{terminal(event, 40)}”"


def _called(called: int, of: int) -> str:
    if not called:
        return "it is not called." if of == 1 else "none of them is called."
    which = "it" if of == 1 else "all of them" if called == of else f"{called:,} of them"
    return f"{which} may be called, with the arguments that were seen."


_NO_SOURCE = frozenset({"template", "script", "notebook", "package"})
"""Kinds of code that no load runs as source: what people run or install, and what is only filled in."""
_GRAPHS = frozenset({"caffe-text", "executorch", "mxnet-symbol", "ncnn", "openvino", "tensorflow", "tflite"})
"""Kinds of code that are layers and operators of a runtime."""


def contract_sentences(report: Report) -> list[str]:
    """What loading may do if it is accepted, and that nothing else may. Names in it are not escaped."""
    contract = report.contract
    out: list[str] = []
    if contract.programs:
        # One program that two loaders read differently is in the contract twice, and is the same bytes once.
        programs = {(p.file, p.member, p.offset, p.sha256): p.length for p in contract.programs}
        length = sum(programs.values())
        out.append(
            f"It may run {plural(len(programs), 'pickle program')}: exactly the {size(length)} "
            "of instructions that were scanned."
        )
    elif contract.globals:
        out.append("It may run no pickle program.")
    if contract.globals:
        tops = Counter(use.module.partition(".")[0] for use in contract.globals)
        listed = ", ".join(f"{terminal(top, 40)} ({count})" for top, count in tops.most_common(6))
        more = f" and {len(tops) - 6} more modules" if len(tops) > 6 else ""
        called = sum("reduce" in use.verbs for use in contract.globals)
        out.append(
            f"It may use {plural(len(contract.globals), 'name')} from {listed}{more}; "
            + _called(called, len(contract.globals))
        )
    else:
        nothing = "" if contract.programs else "run no pickle program and "
        out.append(f"It may {nothing}use no Python names.")
    sources = [c for c in contract.code if c.kind not in _NO_SOURCE | _GRAPHS]
    templates = [c for c in contract.code if c.kind == "template"]
    if sources:
        out.append(f"It may run the source of {plural(len(sources), 'file')}, by the digest of its bytes.")
    if graphs := [c for c in contract.code if c.kind in _GRAPHS]:
        out.append(f"It may run the graph of {plural(len(graphs), 'file')}, by the digest of its description.")
    if templates:
        out.append(f"It may use {plural(len(templates), 'chat template')}, by the digest of its text.")
    if contract.native:
        out.append(f"It may load {plural(len(contract.native), 'native library', 'native libraries')}.")
    if contract.local_modules:
        names = ", ".join(terminal(name, 60) for name in sorted(contract.local_modules)[:6])
        out.append(f"It uses code of your own, as it is now: {names}.")
    if contract.effects:
        told = ", ".join(dict.fromkeys(_effect(e) for e in sorted(contract.effects)))
        shown = ", ".join(terminal(e, 60) for e in sorted(contract.effects)[:12])
        out.append(f"If it is accepted, it can {told} ({shown}). Nothing else of that kind.")
    else:
        out.append("It may not write files, start programs, open connections or change Python itself.")
    return out


def regions(report: Report) -> dict[str, int]:
    """Bytes by what they are, over all files that a loader would open.

    What no scanner measured is data in a file that is safe, for safe means explained, and unknown in any other.
    """
    totals = {key: 0 for key, _, _ in REGIONS}
    for file in report.files:
        if file.inert:
            continue
        known = 0
        for key in ("data", "code"):
            amount = max(0, int(file.regions.get(key, 0)))
            totals[key] += amount
            known += amount
        unknown = max(0, int(file.regions.get("unknown", 0)))
        totals["unknown"] += unknown
        rest = "data" if file.verdict is Verdict.SAFE else "unknown"
        totals[rest] += max(0, file.size - known - unknown)
    return totals


LONGEST = 1_000
"""Characters of a target that are put into a command to be copied."""


REASON = '--reason "…"'


def approve_command(report: Report, *, reason: bool = False) -> str | None:
    """The exact command that approves this content, or None where no command can.

    Args:
        reason: whether the policy asks for one here.

    An unverifiable report cannot be approved; a stream that is not an open file has no name that a later command could
    find it by, and a name of more than `LONGEST` characters is no use to a person.
    """
    if report.verdict is Verdict.UNVERIFIABLE or (report.artifact.kind == "stream" and not _open_file(report)):
        return None
    target = report.target
    if report.artifact.kind != "hub":
        target = report.provenance.get("path", target)
        if not os.path.isabs(target):
            target = os.path.abspath(target)
    if len(target) > LONGEST:
        return None
    words = ["nbguard", "approve", quote(target)]
    if report.artifact.commit:
        words += ["--revision", quote(report.artifact.commit)]
    return " ".join([*words, *_accepting(report, reason)])


def lock_command(report: Report, lock: str = "") -> str | None:
    """The exact command that locks this content, or None where no command can.

    Args:
        lock: the lock that is to be written, where it is not the one that the command takes by itself.
    """
    stream = report.artifact.kind == "stream" and not _open_file(report)
    target = report.target
    if report.artifact.kind == "hub":
        target = f"hf://{report.provenance.get('repo') or target.removeprefix('hf://').partition('@')[0]}"
    if report.verdict is Verdict.UNVERIFIABLE or stream or len(target) > LONGEST:
        return None
    words = ["nbguard", "lock", quote(target)]
    if (revision := report.provenance.get("revision", "main")) != "main" and report.artifact.kind == "hub":
        words += ["--revision", quote(revision)]
    if lock:
        words += ["--lock", quote(lock)]
    return " ".join([*words, *_accepting(report, report.verdict is not Verdict.SAFE)])


def _accepting(report: Report, reason: bool) -> list[str]:
    """The words with which a person says that they accept it."""
    loud = report.verdict is Verdict.DANGER or report.false_name is not None
    return [REASON] * (reason or report.false_name is not None) + ["--i-accept-danger"] * loud


def _open_file(report: Report) -> bool:
    """Whether a stream goes by the name of a file of its size. Approvals are found by content, so that a name that lies
    only costs a useless approval of another file."""
    try:
        return os.path.isfile(report.target) and os.path.getsize(report.target) == sum(f.size for f in report.files)
    except (OSError, ValueError):
        return False


def quote(text: str) -> str:
    """`text` as one word for a POSIX shell; control and invisible characters in bash's and zsh's `$'…'` form."""
    if text and terminal(text, len(text)) == text:
        return shlex.quote(text)
    raw = text.encode("utf-8", "surrogateescape") if not re.search("[\ud800-\udc7f\udd00-\udfff]", text) else None
    if raw is None:
        return shlex.quote(terminal(text))
    return "$'" + "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in raw) + "'"
