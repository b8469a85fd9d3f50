"""What a chat template says to the model, as far as a person would not see or not expect it.

    for odd in judge(parts(source)): odd.what, odd.evidence, odd.line

A template may hold instructions: default system prompts and descriptions of tools do. Told is what nobody who reads
the conversation would see (characters that are not shown), what hides its meaning (text in base64, comments of HTML),
what sends something away (addresses), and sentences that set other instructions aside or keep something from the user.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from nbguard.formats.jinja_template import Tag, Text

MAX_FOUND = 20


@dataclass(frozen=True)
class Odd:
    """One thing out of the ordinary."""

    rule: str
    what: str
    """Goes on "The chat template …"."""
    evidence: str
    line: int
    meaning: str


_TAG_CHARACTER = "\U000e0000-\U000e007f"
_UNSEEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\u3164\ufeff"
    "\uffa0\U0001d173-\U0001d17a\U000e0100-\U000e01ef" + _TAG_CHARACTER + "]"
    "|(?<![\u0600-\u0dff])\u200c|(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])\u200d"
)
"""Characters of no width. The joiner that makes one picture of several stands behind a picture, and the one that keeps
letters apart between those of Persian and Indian scripts."""
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_URL = re.compile(r"(?:https?|ftp|wss?)://[^\s'\"<>)}\]]{3,300}", re.IGNORECASE)
_KNOWN_URL = re.compile(r"https?://(?:json-schema\.org|www\.w3\.org)/", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{48,}={0,2}")
_HTML = re.compile(
    r"<!--|display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|<script\b|<iframe\b", re.IGNORECASE
)
_PHRASES = (
    re.compile(
        r"\b(?:ignore|disregard|forget|override|bypass)\s+(?:(?:all|any|the|your|every|these|those|of)\s+){0,3}"
        r"(?:previous|prior|above|earlier|preceding|foregoing|other|safety|system|user'?s?)\s+(?:\w+\s+){0,2}?"
        r"(?:instruction|prompt|message|rule|guideline|direction|request|polic|context|polici|restriction)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:do\s+not|don'?t|never|must\s+not|without)\s+(?:ever\s+)?(?:tell(?:ing)?|inform(?:ing)?|reveal(?:ing)?|"
        r"mention(?:ing)?|disclos(?:e|ing)|notify(?:ing)?|alert(?:ing)?|show(?:ing)?|let(?:ting)?)\s+(?:\w+\s+){0,4}?"
        r"(?:to\s+)?(?:the\s+|this\s+|any\s+)?(?:user|human|person|customer|anyone|anybody)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:secretly|covertly|surreptitiously|stealthily|exfiltrat\w*|hidden\s+instructions?|backdoor)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:do\s+not|don'?t|never)\s+(?:mention|reveal|disclose|acknowledge)\s+(?:this|these|that)\s+"
        r"(?:instruction|prompt|rule|message|to\b|in\s+your)",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:send|post|upload|forward|transmit|leak|e-?mail)\s+(?:\w+\s+){0,6}?(?:password|credential|api[ _-]?key"
        r"|secret|token|conversation|chat\s+history|private\s+key)s?\b(?:\s+\w+){0,4}?\s+to\b",
        re.IGNORECASE,
    ),
)  # fmt: skip
_CALL = re.compile(
    r"(?:<tool_call>|<\|tool_call\|?>|\[TOOL_CALLS\]|<function_call>|<\|python_tag\|>)\s{0,20}\[?\s{0,20}\{\s{0,20}\\?[\"'](?:name|function)\\?[\"']"
    r"\s{0,20}:\s{0,20}\\?[\"'](?!\$|<|\{|[^\"']{0,20}(?:func|name|tool|example|foo|bar))([\w.-]{2,80})\\?[\"']",
    re.IGNORECASE,
)
_SEEN = "Whoever reads the conversation does not see that, and the model does."
_TOLD = "The model would follow it in every conversation, or in those that the author chose."


def judge(found: Iterable[Tag | Text]) -> Iterator[Odd]:
    """Everything that is out of the ordinary in the words of a template, at most `MAX_FOUND` of them."""
    text, starts, lines = _spoken(found)
    for odd in islice((*unseen(text, 0), *_look(text)), MAX_FOUND):
        at = bisect_right(starts, odd.line) - 1
        yield Odd(odd.rule, odd.what, odd.evidence, lines[at] if 0 <= at < len(lines) else 1, odd.meaning)


def unseen(source: str, first_line: int = 1) -> Iterator[Odd]:
    """Characters that are not shown, or that turn the order around, in a source, or in text that is spoken.

    Args:
        first_line: 1 to count lines, 0 to give the place in the text instead.
    """
    for pattern, what in ((_UNSEEN, "holds characters that nobody sees"), (_BIDI, "turns the order of letters around")):
        first = next((m for m in pattern.finditer(source) if m.start() or m[0] != "\ufeff"), None)
        if first is not None:
            names = sorted({f"U+{ord(m[0]):04X}" for m, _ in zip(pattern.finditer(source), range(1000), strict=False)})
            shown = _shown(source, first.start(), first.end())
            line = source.count("\n", 0, first.start()) + 1 if first_line else first.start()
            yield Odd("template.unseen", what, f"{', '.join(names[:12])} in {shown}", line, _SEEN)


def _spoken(found: Iterable[Tag | Text]) -> tuple[str, list[int], list[int]]:
    """What may come out of the template, put together, with the offset and the line of each piece."""
    pieces: list[str] = []
    starts: list[int] = []
    lines: list[int] = []
    at = 0
    for part in found:
        if isinstance(part, Text):
            texts = [] if part.comment else [part.text]
        else:
            texts = [token.text for token in part.tokens if token.kind == "string"]
        for text in texts:
            pieces.append(text)
            starts.append(at)
            lines.append(part.line)
            at += len(text)
    return "".join(pieces), starts, lines


def _look(text: str) -> Iterator[Odd]:
    """The oddities; `line` is the offset in `text` here."""
    for match in _URL.finditer(text):
        if not _KNOWN_URL.match(match[0]):
            yield Odd("template.address", "names an address", match[0][:300], match.start(),
                      "A model that may open addresses, or whose answer is shown with pictures, can be made to send"
                      " the conversation there.")  # fmt: skip
    for match in _BASE64.finditer(text):
        if _is_encoded(match[0]):
            yield Odd("template.encoded", "holds text that is encoded", match[0][:200], match.start(), _SEEN)
    for match in _HTML.finditer(text):
        yield Odd(
            "template.hidden", "holds text that is shown to nobody", _shown(text, *match.span()), match.start(), _SEEN
        )
    for pattern in _PHRASES:
        for match in pattern.finditer(text):
            yield Odd("template.instruction", "gives the model an instruction against its users",
                      _shown(text, *match.span()), match.start(), _TOLD)  # fmt: skip
    for match in _CALL.finditer(text):
        yield Odd("template.call", f"writes a call of the tool {match[1][:60]!r} for the model",
                  _shown(text, *match.span()), match.start(),
                  "The program around the model would run that call as one that the model asked for.")  # fmt: skip


def _is_encoded(run: str) -> bool:
    """Whether a long word looks like base64 rather than like a name: all kinds of letters, often changing."""
    changes = sum(a.isupper() != b.isupper() or a.isdigit() != b.isdigit() for a, b in pairwise(run))
    plain = any(c.islower() for c in run) and any(c.isupper() for c in run) and sum(c.isdigit() for c in run) >= 2
    return plain and "_" not in run.strip("_") and changes * 4 > len(run)


def _shown(text: str, start: int, end: int) -> str:
    piece = text[max(0, start - 60) : end + 100]
    return piece.encode("ascii", "backslashreplace").decode("ascii")[:400]


__all__ = ["Odd", "judge", "unseen"]
