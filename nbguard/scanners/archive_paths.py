"""Where the members of an archive would land when somebody unpacks it, and what else that would do.

    judge_paths(job, [Placed("../../.bashrc")], facts)

Zip, tar and 7z store names as their writer likes. A name with `..` or from the root, a link that leads out of the
folder, a file that is written through a link, a device: that is harm for whoever unpacks the archive with a tool that
does as it is told, whatever the members hold. Links that stay inside are what honest archives have, too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts

MOST_FINDINGS = 10
"""Of one rule in one archive; the verdict counts all."""
MAX_PATH = 4096
"""Characters, as Linux takes at most."""
MAX_STEPS = 100
"""Folders within folders."""
MOST_LINKS = 40
"""Links that are followed for one path, as Linux does (`path_resolution(7)`)."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
"""`w:0.npy` is what TensorFlow's arrays are called; only with a slash does it name a drive for sure."""
_ODD = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Placed:
    """One member, as far as unpacking goes."""

    name: str
    kind: str = "file"
    """`file`, `folder`, `link`, `hardlink`, `device` or `fifo`."""
    target: str = ""
    """Of a link."""
    mode: int = 0
    """Unix permissions, the bits for set-user-id and set-group-id among them."""


def _usual(path: str) -> bool:
    return len(path) <= MAX_PATH and path.count("/") + path.count("\\") <= MAX_STEPS


class _OutsideError(ValueError):
    """The path leads out of the folder that the archive is unpacked into."""


def judge_paths(job: Job, members: Sequence[Placed], facts: Facts, *, unpacked: bool = True) -> None:
    """Add what unpacking these members would do to `facts`. `unpacked`: people unpack this kind of archive at all."""
    told = _Teller(job, facts)
    links = {key: m.target for m in members if m.kind == "link" and (key := _key(m.name)) is not None}
    names = {key for m in members if (key := _key(m.name)) is not None}
    linked = any(m.kind in ("link", "hardlink") for m in members)
    # Folders often have no entry of their own.
    known = names | {key[:n] for key in names for n in range(1, len(key))} if linked else names
    seen: dict[tuple[str, ...], str] = {}
    for member in members:
        _own_name(member, told)
        key = _key(member.name)
        if key is None:
            continue
        if member.kind in ("link", "hardlink"):
            _link(member, key, links, known, told)
        _through(member, key, links, told)
        if unpacked and member.kind != "folder":
            _twin(member, key, seen, told)
    told.finish()


def _own_name(member: Placed, told: _Teller) -> None:
    name = member.name
    if _key(name) is None:
        told.say(
            "archive.path",
            member,
            f"Unpacking it writes outside of the folder: {name[:150]}",
            "A program that unpacks it as it stands overwrites other files of yours, with what the archive holds.",
            Severity.CRITICAL,
            Verdict.DANGER,
        )
    if member.kind == "device":
        told.say(
            "archive.device",
            member,
            "It holds a device, which no model needs.",
            "Unpacked with enough rights, it gives access to the machine's disks or memory.",
            Severity.CRITICAL,
            Verdict.DANGER,
        )
    if member.kind == "fifo":
        told.say(
            "archive.device",
            member,
            "It holds a pipe, at which whatever reads it waits for ever.",
            "No model needs one.",
            Severity.HIGH,
            Verdict.UNVERIFIABLE,
        )
    if member.kind == "file" and member.mode & 0o6000:
        told.say(
            "archive.setuid",
            member,
            "It holds a program that would run with its owner's rights.",
            "Unpacked by an administrator, it gives those rights to everybody.",
            Severity.HIGH,
            Verdict.REVIEW,
        )
    if not _usual(name) or not _usual(member.target):
        told.say(
            "archive.name",
            member,
            "A name in it is longer than any file system takes.",
            "What a program makes of it when it unpacks the archive cannot be said.",
            Severity.HIGH,
            Verdict.UNVERIFIABLE,
        )
    if _ODD.search(name):
        told.say(
            "archive.name",
            member,
            "A name in it holds characters that are not shown, or that turn the text around.",
            "It is then not what it looks like; some programs cut a name at such a character.",
            Severity.MEDIUM,
            Verdict.UNVERIFIABLE if "\0" in name else Verdict.REVIEW,
        )


def _link(
    member: Placed, key: tuple[str, ...], links: dict[tuple[str, ...], str], known: set[tuple[str, ...]], told: _Teller
) -> None:
    """A link has to stay inside, whatever links it leads over, and to name something that is there."""
    try:
        base = () if member.kind == "hardlink" else key[:-1]
        place = _resolve(base, member.target, {} if member.kind == "hardlink" else links)
    except _OutsideError:
        told.say(
            "archive.link",
            member,
            f"It holds a link that leads out of the folder: {member.target[:150]}",
            "Reading or writing the link then reads or writes another file of the machine.",
            Severity.CRITICAL,
            Verdict.DANGER,
        )
        return
    if place and place not in known:
        told.say(
            "archive.dangling-link",
            member,
            f"It holds a link to something that is not in it: {member.target[:150]}",
            "What it leads to depends on what else lies in the folder it is unpacked into.",
            Severity.MEDIUM,
            Verdict.REVIEW if member.kind == "link" else Verdict.UNVERIFIABLE,
        )


def _through(member: Placed, key: tuple[str, ...], links: dict[tuple[str, ...], str], told: _Teller) -> None:
    if not links or not any(key[:n] in links for n in range(1, len(key))):
        return
    told.say(
        "archive.through-link",
        member,
        "A member lies below a link that the archive itself makes.",
        "It is written to wherever the link leads; not every program does that, so that readers disagree.",
        Severity.HIGH,
        Verdict.UNVERIFIABLE,
    )


def _twin(member: Placed, key: tuple[str, ...], seen: dict[tuple[str, ...], str], told: _Teller) -> None:
    folded = tuple(unicodedata.normalize("NFC", unicodedata.normalize("NFC", p).casefold()).rstrip(" .") for p in key)
    other = seen.setdefault(folded, member.name)
    if other != member.name:
        told.say(
            "archive.same-name",
            member,
            f"Two members become one file on macOS or Windows: {other[:100]} and {member.name[:100]}",
            "The later one takes the earlier one's place there, and what is checked is not what is used.",
            Severity.MEDIUM,
            Verdict.REVIEW,
        )


class _Teller:
    """Adds findings, a few of each rule; the verdict is right all the same."""

    def __init__(self, job: Job, facts: Facts) -> None:
        self._job, self._facts, self._counts = job, facts, dict[str, int]()

    def say(self, rule: str, member: Placed, message: str, meaning: str, severity: Severity, verdict: Verdict) -> None:
        self._counts[rule] = self._counts.get(rule, 0) + 1
        self._facts.verdict = max(self._facts.verdict, verdict)
        if self._counts[rule] > MOST_FINDINGS:
            return
        inside = f"{self._job.member}!" if self._job.member else ""
        name = f"{inside}{member.name}"[:200]
        remedy = "Do not unpack it." if verdict is Verdict.DANGER else "Ask the publisher for an archive without it."
        self._facts.add(Finding(rule, severity, self._job.path, name, message, meaning=meaning, remedy=remedy), verdict)

    def finish(self) -> None:
        for rule, count in self._counts.items():
            if count > MOST_FINDINGS:
                more = f"And {count - MOST_FINDINGS:,} more members like these."
                self._facts.add(Finding(rule, Severity.LOW, self._job.path, self._job.location, more), Verdict.SAFE)


def _key(name: str) -> tuple[str, ...] | None:
    """The steps of a path from the folder that the archive is unpacked into; None where it leads out of it."""
    try:
        return _resolve((), name, {})
    except _OutsideError:
        return None


def _resolve(base: tuple[str, ...], path: str, links: dict[tuple[str, ...], str]) -> tuple[str, ...]:
    """`path` from the folder `base`, every link on the way followed, as the kernel would.

    Raises:
        _OutsideError: it is absolute, leads above the root at any step, or over more links than anybody follows.
    """
    if path.startswith(("/", "\\")) or _DRIVE.match(path):
        raise _OutsideError
    if not _usual(path):
        return base
    place = list(base)
    steps = path.replace("\\", "/").split("/")[::-1]
    followed = 0
    while steps:
        step = steps.pop()
        if step in ("", "."):
            continue
        if step == "..":
            if not place:
                raise _OutsideError
            place.pop()
            continue
        place.append(step)
        target = links.get(tuple(place)) if links else None
        if target is not None:
            followed += 1
            if followed > MOST_LINKS or target.startswith(("/", "\\")) or _DRIVE.match(target):
                raise _OutsideError
            place.pop()
            steps += target[:MAX_PATH].replace("\\", "/").split("/")[::-1]
    return tuple(place)
