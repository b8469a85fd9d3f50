"""`tokenizer.json`: what a tokenizer does to text besides cutting it into tokens.

    for finding, verdict in findings("tokenizer.json", document): ...

The library that reads it (`tokenizers`) is written in Rust and checks its own indices. What it cannot tell is what the
steps are for: a `Replace` of whole words changes what a person wrote before the model sees it, or what the model wrote
before the person does, and a template may add any number of tokens to each text.

Sources: `tokenizers/src/normalizers/replace.rs`, `src/decoders`, `src/processors/template.rs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict

MAX_STEPS = 2_000
MAX_PATTERN = 2_000
"""Characters of an expression or its replacement that are looked at."""
MAX_LENGTH = 1 << 24
"""Tokens that a text may be filled up to; real ones are filled up to some thousands."""
_WORD = re.compile(r"[^\W\d_]{3}")
_MARK = re.compile(r"<[^<>\s]{1,60}>|\[[A-Z]{2,10}\]")
"""Special tokens, which steps may put in or take out."""
_NESTED = re.compile(r"\([^()]*[+*][^()]*\)(?:[+*]|\{\d+,\})")
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def findings(path: str, value: Any) -> list[tuple[Finding, Verdict]]:
    """What is to be said of one document; nothing where it is no tokenizer's."""
    if not isinstance(value, dict) or not isinstance(value.get("model"), dict):
        return []
    out: list[tuple[Finding, Verdict]] = []
    for part in _PARTS:
        for step in _steps(value.get(part)):
            out += _step(path, part, step)
            if len(out) > 20:
                return out
    padding = value.get("padding")
    strategy = padding.get("strategy") if isinstance(padding, dict) else None
    length = strategy.get("Fixed") if isinstance(strategy, dict) else None
    if isinstance(length, int) and length > MAX_LENGTH:
        out.append(
            _said("tokenizer.padding", path, "padding", f"It fills each text up to {length} tokens.", Verdict.REVIEW,
                  "That many take all memory.")
        )  # fmt: skip
    return out


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """A step and those below it, whatever they are nested in."""
    pending, count = [value], 0
    while pending and count < MAX_STEPS:
        part = pending.pop()
        count += 1
        if isinstance(part, dict):
            if "type" in part:
                yield part
            pending += [
                v for k, v in part.items() if isinstance(v, list | dict) and k not in ("special_tokens", "pattern")
            ]
        elif isinstance(part, list):
            pending += part[:MAX_STEPS]


def _step(path: str, part: str, step: dict[str, Any]) -> Iterator[tuple[Finding, Verdict]]:
    kind = step.get("type")
    pattern = step.get("pattern")
    text = str(next(iter(pattern.values()), "")) if isinstance(pattern, dict) else str(pattern or "")
    if isinstance(pattern, dict) and "Regex" in pattern and _NESTED.search(text[:MAX_PATTERN]):
        yield _said(
            "tokenizer.slow", path, part, f"It searches for an expression that may take very long: {text[:100]}",
            Verdict.SAFE, "Some texts would take the tokenizer minutes.",
        )  # fmt: skip
    content, text = str(step.get("content") or "")[:MAX_PATTERN], text[:MAX_PATTERN]
    if kind == "Replace" and (
        _WORD.search(_MARK.sub("", content)) or (_is_text(pattern) and _WORD.search(_MARK.sub("", text)))
    ):
        seen = "what a person wrote, before the model sees it" if part != "decoder" else "what the model wrote"
        yield _said(
            "tokenizer.rewrites", path, part, f"It changes words in {seen}: {text[:80]!r} becomes {content[:80]!r}.",
            Verdict.REVIEW, "The model is asked something else, or answers something else, than is shown.",
        )  # fmt: skip
    tokens = step.get("special_tokens")
    if kind == "TemplateProcessing" and isinstance(tokens, dict):
        for name, row in list(tokens.items())[:MAX_STEPS]:
            ids = row.get("ids") if isinstance(row, dict) else None
            if isinstance(ids, list) and len(ids) > 1:
                yield _said(
                    "tokenizer.adds", path, part, f"It adds {len(ids)} tokens to each text, as {name[:60]!r}.",
                    Verdict.REVIEW, "That many may be a text of their own, which nobody is shown.",
                )  # fmt: skip
                return


def _is_text(pattern: Any) -> bool:
    return isinstance(pattern, str) or (isinstance(pattern, dict) and "String" in pattern)


def _said(rule: str, path: str, where: str, message: str, verdict: Verdict, meaning: str) -> tuple[Finding, Verdict]:
    severity = Severity.INFO if verdict is Verdict.SAFE else Severity.MEDIUM
    remedy = "" if verdict is Verdict.SAFE else "Ask the publisher what that is for."
    return Finding(rule, severity, path, where, message, meaning=meaning, remedy=remedy), verdict


__all__ = ["findings"]
