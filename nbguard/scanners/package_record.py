"""The list of files in a wheel, held against the files that are there.

    record = Record()
    record.saw(name, view, "demo-1.0.dist-info/")
    record.judge(say)

pip reads the list and does not compare the digests; whoever changes a wheel afterwards often forgets them. Source:
PyPA, "Recording installed projects".
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from typing import Protocol

from nbguard.formats.view import View
from nbguard.report.model import Severity, Verdict

_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")
MAX_RECORD = 32 << 20
_HASHES = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


class Say(Protocol):
    """How a finding about a package is told."""

    def __call__(
        self,
        rule: str,
        severity: Severity,
        where: str,
        message: str,
        *,
        evidence: str = "",
        meaning: str = "",
        remedy: str = "",
        verdict: Verdict = Verdict.REVIEW,
    ) -> None: ...


class Record:
    """What is listed, and what was seen."""

    def __init__(self) -> None:
        self._root = ""
        self._text: bytes | None = None
        self._seen: dict[str, dict[str, str]] = {}

    def saw(self, name: str, view: View, root: str) -> None:
        """Remember the digests of one member."""
        self._root = root
        if name == f"{root}RECORD" and view.size <= MAX_RECORD:
            self._text = view.read(0, view.size)
        digest = {which: make() for which, make in _HASHES.items() if which == "sha256" or view.size <= 1 << 20}
        for at in range(0, view.size, 1 << 20):
            piece = view.read(at, 1 << 20)
            for one in digest.values():
                one.update(piece)
        self._seen[name] = {
            which: base64.urlsafe_b64encode(d.digest()).rstrip(b"=").decode() for which, d in digest.items()
        }

    def judge(self, say: Say) -> None:
        """Tell what does not fit."""
        if self._text is None:
            say(
                "package.record",
                Severity.HIGH,
                self._root,
                "The wheel has no list of its files.",
                meaning="Every wheel that a build tool makes has one; pip refuses this one.",
                remedy="Get the wheel again from its publisher.",
                verdict=Verdict.UNVERIFIABLE,
            )
            return
        rows = self._rows()
        if rows is None:
            message = "The wheel's list of its files cannot be read."
            say("package.record", Severity.HIGH, self._root, message, verdict=Verdict.UNVERIFIABLE)
            return
        listed = {row[0]: row[1] for row in rows if len(row) > 1}
        for name in listed:
            if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
                say(
                    "package.record",
                    Severity.CRITICAL,
                    name,
                    f"Its list of files names one outside of the package: {name[:150]}",
                    meaning="Removing the package would remove that file.",
                    verdict=Verdict.DANGER,
                )
        for name, seen in self._seen.items():
            self._one(name, seen, listed.get(name), say)

    def _rows(self) -> list[list[str]] | None:
        try:
            text = (self._text or b"").decode("utf-8", "replace").replace("\0", "\ufffd")
            return list(csv.reader(io.StringIO(text)))
        except csv.Error:
            return None

    def _one(self, name: str, seen: dict[str, str], listed: str | None, say: Say) -> None:
        if name.startswith(self._root) and name.removeprefix(self._root) in _UNLISTED:
            return
        if listed is None:
            say(
                "package.unlisted",
                Severity.MEDIUM,
                name,
                "The wheel holds a file that its own list does not name.",
                meaning="It was added after the wheel was built.",
                remedy="Get the wheel again from its publisher.",
            )
            return
        which, _, wanted = listed.partition("=")
        if wanted and seen.get(which, wanted) != wanted.rstrip("="):
            say(
                "package.changed",
                Severity.HIGH,
                name,
                "A file in the wheel is not the one that its own list describes.",
                meaning="It was changed after the wheel was built, and pip would not notice.",
                remedy="Get the wheel again from its publisher.",
                verdict=Verdict.UNVERIFIABLE,
            )
