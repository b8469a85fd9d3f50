"""`Modelfile` of Ollama: where a model comes from, and what it is told before anybody speaks.

facts = SCANNER.scan(job)

`FROM` and `ADAPTER` name files, repositories or models of a registry; `SYSTEM`, `TEMPLATE` and `MESSAGE` are words to
the model. Ollama's templates (Go) can call nothing that acts. Source: `ollama/docs/modelfile.md`, `parser/parser.go`.
"""

from __future__ import annotations

import re

from nbguard.artifact.model import NotScanned
from nbguard.formats.jinja_template import Text
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import template_words
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.config_keys import leads_out
from nbguard.scanners.facts import Facts

MAX_BYTES = 4 << 20
_WORDS = ("FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "RENDERER", "PARSER", "REQUIRES")
_NAME = re.compile(r"(?:.*/)?modelfile(?:[._-][\w.-]*)?\Z", re.IGNORECASE | re.DOTALL)
_INSTRUCTION = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+")
_FROM = re.compile(rb"^[ \t]{0,100}from[ \t]{1,100}\S", re.IGNORECASE | re.MULTILINE)
_REGISTRY = re.compile(r"[\w.-]+(?::\d+)?(?:/[\w.-]+){0,3}(?::[\w.-]+)?(?:@[\w:]+)?", re.ASCII)
_FILES = (".gguf", ".bin", ".safetensors", ".ggml")


class ModelfileScanner:
    name = "ollama-modelfile"

    def recognise(self, job: Job) -> bool:
        return bool(_NAME.match(job.name[-300:])) and b"\0" not in job.head and bool(_FROM.search(job.head))

    def scan(self, job: Job) -> Facts:
        if job.size > MAX_BYTES:
            return unverifiable(job, self.name, "modelfile.size", "The Modelfile is larger than any real one.")
        text = job.view.read(0, job.size).decode("utf-8", "surrogateescape")
        facts = plain(job, self.name)
        try:
            rows = _rows(text)
        except ValueError as error:
            return unverifiable(job, self.name, "modelfile.malformed", str(error))
        for line, word, value in rows:
            if word in ("FROM", "ADAPTER"):
                _source(job, facts, line, word, value)
            elif word in ("SYSTEM", "TEMPLATE", "MESSAGE"):
                _words(job, facts, line, word, value)
            elif word not in _WORDS:
                facts.unverifiable(
                    "modelfile.instruction",
                    job.path,
                    f"line {line}",
                    f"It has an instruction that nobody knows: {word[:40]}.",
                )
        return facts


SCANNER = ModelfileScanner()


def _rows(text: str) -> list[tuple[int, str, str]]:
    """(line, instruction, argument); an argument in three quotes goes over lines. Raises ValueError where one does not
    end, or where something else than an instruction stands."""
    out: list[tuple[int, str, str]] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _INSTRUCTION.match(line)
        if match is None:
            raise ValueError(f"Line {number} of the Modelfile is no instruction.")
        start, value = number, line[match.end() :].strip()
        head, quotes, rest = value.partition('"""')
        if quotes and (not head.strip() or match[1].upper() == "MESSAGE"):
            held = [rest]
            while '"""' not in held[-1]:
                if number >= len(lines):
                    raise ValueError(f"The text that begins in line {start} of the Modelfile does not end.")
                held.append(lines[number])
                number += 1
            held[-1] = held[-1].partition('"""')[0]
            value = head + "\n".join(held)
        out.append((start, match[1].upper(), value))
    return out


def _source(job: Job, facts: Facts, line: int, word: str, value: str) -> None:
    beside = value.startswith("./") or value.lower().endswith(_FILES) or value in (".", "")
    climbs = ".." in value.replace("\\", "/").split("/")
    if climbs or leads_out(value):
        facts.add(
            Finding(
                "modelfile.outside", Severity.HIGH if climbs else Severity.MEDIUM, job.path, f"line {line}",
                f"Its {word} names a file outside of its folder: {value[:200]}", evidence=f"{word} {value}"[:500],
                meaning="What lies there would be taken for the model.", remedy="Name the file yourself.",
            ),
            Verdict.DANGER if climbs else Verdict.REVIEW,
        )  # fmt: skip
    elif not beside:
        known = bool(_REGISTRY.fullmatch(value.removeprefix("https://").removeprefix("http://")))
        facts.add(
            Finding(
                "modelfile.source", Severity.LOW if known else Severity.MEDIUM, job.path, f"line {line}",
                f"The model comes from elsewhere: {value[:150]}", evidence=f"{word} {value}"[:500],
                meaning="What lies there was not looked at here.",
            ),
            Verdict.SAFE if known else Verdict.REVIEW,
        )  # fmt: skip
        facts.not_scanned.append(NotScanned(value[:300], "a model that the Modelfile names"))


def _words(job: Job, facts: Facts, line: int, word: str, value: str) -> None:
    for odd in template_words.judge([Text(value, line)]):
        facts.add(
            Finding(
                odd.rule, Severity.MEDIUM, job.path, f"{word} line {odd.line}", f"The model's own text {odd.what}.",
                evidence=odd.evidence[:500], meaning=odd.meaning, remedy="Read it before you use the model.",
            ),
            Verdict.REVIEW,
        )  # fmt: skip


FORMATS = (
    Format(
        "ollama-modelfile",
        "Ollama's Modelfile",
        ("Modelfile",),
        "By its name, and an instruction FROM.",
        "Every instruction; where the model and adapters come from; hidden, encoded and hostile text in the system"
        " prompt,"
        " the template and the messages.",
        "Models of a registry or of the Hub that are named: they are listed. Parameters. What the words mean.",
        "*safe*; *review* for what a reader would not see, and for files elsewhere; *danger* for paths out of the"
        " folder;"
        " *unverifiable* for unknown instructions",
        untested="Ollama writes such a file only with its server running.",
    ),
)
