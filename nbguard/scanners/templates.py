"""What a chat template would do when a prompt is made with it.

    judge(job, source, "tokenizer.chat_template", facts)

Templates are programs in a language without imports, run in a sandbox by current libraries and without one by older
ones (llama-cpp-python before 0.2.72, CVE-2024-34359). The way out of the language is through attributes with double
underscores; templates of real models use a small vocabulary, and whatever lies beyond it is told.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from nbguard.formats.jinja_template import Tag, TemplateError, Token, tags
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

MAX_TEMPLATE = 4 << 20
"""Bytes; the longest templates of real models have some tens of thousands."""
_DUNDER = re.compile(r"__")
_PART = re.compile(r"\s*(?:__\w*|\w*__)\s*\Z")
_ATTRIBUTE = re.compile(
    r"[.{\[]\s*\w*\.?__\w+|__(?:class|mro|bases?|subclasses|globals|builtins|init|new|call|dict|import|code|closure|func|self"
    r"|module|reduce|reduce_ex|getattribute|getattr|getitem|doc|name|qualname|loader|spec|file|wrapped|subclasshook)__"
)
_ENDS_OPERAND = (")", "]", "}")
_WORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "recursive"})
"""Words that a bracket may follow without being called."""


def _usual() -> dict[str, frozenset[str]]:
    return table("templates")


def in_configuration(value: Any) -> list[tuple[str, str]]:
    """(where, source) of the chat templates in a tokenizer's or processor's configuration: one, or several."""
    held = value.get("chat_template") if isinstance(value, dict) else None
    if isinstance(held, list):
        named = [(str(t.get("name"))[:60], t.get("template")) for t in held if isinstance(t, dict)]
        return [(f"chat_template {name}", source) for name, source in named if isinstance(source, str)]
    if isinstance(held, dict):
        return [(f"chat_template {name[:60]}", source) for name, source in held.items() if isinstance(source, str)]
    return [("chat_template", held)] if isinstance(held, str) else []


def judge(job: Job, source: str, where: str, facts: Facts, *, pin: bool = True) -> None:
    """Add what a template could do. `where` says what holds it; a small file is pinned as a whole without `pin`."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
    if pin:
        facts.code.append(CodeFile(f"{job.path}!{where}"[:500], digest, "template"))
    if len(source) > MAX_TEMPLATE:
        facts.unverifiable("template.size", job.path, where[:200], "The chat template is longer than any real one.")
        return
    try:
        found = list(tags(source))
    except TemplateError as error:
        facts.unverifiable("template.malformed", job.path, where[:200], str(error))
        return
    macros = {t.tokens[1].text for t in found if t.statement and len(t.tokens) > 1 and t.tokens[0].text == "macro"}
    seen: set[tuple[str, str]] = set()
    for tag in found:
        for verdict, what, evidence in _look(tag, macros):
            if (what, evidence) not in seen and len(seen) < 20:
                seen.add((what, evidence))
                _tell(job, f"{where} line {tag.line}", verdict, what, evidence, facts)


def _tell(job: Job, where: str, verdict: Verdict, what: str, evidence: str, facts: Facts) -> None:
    danger = verdict is Verdict.DANGER
    facts.add(
        Finding(
            "template.escape" if danger else "template.vocabulary",
            Severity.CRITICAL if danger else Severity.MEDIUM,
            job.path,
            where[:300],
            f"The chat template {what}.",
            evidence=evidence[:500],
            meaning="That is the way out of the template language: without a sandbox it can run any code."
            if danger
            else "Templates of real models do without it.",
            remedy="Do not make prompts with it."
            if danger
            else "Read the template before you make prompts with it, or set one of your own.",
        ),
        verdict,
    )


def _look(tag: Tag, macros: set[str]) -> list[tuple[Verdict, str, str]]:
    """(verdict, what it does, evidence) of everything out of the ordinary in one tag."""
    found: list[tuple[Verdict, str, str]] = []
    tokens = tag.tokens
    shown = " ".join(t.text if t.kind != "string" else repr(t.text) for t in tokens)
    if tag.statement and tokens and tokens[0].text not in _usual()["statements"]:
        found.append((Verdict.REVIEW, f"has a statement that is not usual: {tokens[0].text[:40]}", shown))
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else Token("", "")
        after = tokens[at + 1] if at + 1 < len(tokens) else Token("", "")
        attribute = before.text == "." and before.kind == "operator"
        filtered = before.text == "|" and before.kind == "operator"
        if token.kind in ("name", "string") and _DUNDER.search(token.text) and _reaches(token, attribute):
            found.append((Verdict.DANGER, "reaches for an attribute with double underscores", shown))
        elif token.kind == "name" and filtered:
            found += _filter(token.text, shown)
        elif token.kind == "name" and attribute and token.text.startswith("_"):
            found.append((Verdict.REVIEW, f"reaches for a private attribute: {token.text[:60]}", shown))
        elif token.kind == "name" and after == Token("operator", "(") and not _leads(tag, at):
            known = _usual()["methods"] if attribute else _usual()["functions"] | macros | _WORDS
            if token.text not in known and before.text != "is":
                found.append((Verdict.REVIEW, f"calls something that is not usual: {token.text[:60]}", shown))
        elif token == Token("operator", "(") and (before.kind == "string" or before.text in _ENDS_OPERAND):
            found.append((Verdict.REVIEW, "calls the result of an expression", shown))
        elif token == Token("operator", "[") and _is_operand(before) and _composed(tokens, at):
            found.append((Verdict.REVIEW, "puts together the name of what it reaches for", shown))
    return found


def _reaches(token: Token, attribute: bool) -> bool:
    """Whether a name with double underscores in it could lead out: an attribute, or text that may become one.

    Text holds special tokens (`<__start__>`) and prose too: it counts where all of it is such a name, where one of
    Python's own attributes stands in it, or where `format` would look one up.
    """
    if token.kind == "name":
        return attribute or (token.text.startswith("__") and token.text.endswith("__"))
    return bool(_PART.match(token.text) or _ATTRIBUTE.search(token.text))


def _leads(tag: Tag, at: int) -> bool:
    """Whether a name is the statement's own word (`elif (…)`), or the macro's that is defined here."""
    return tag.statement and (at == 0 or (at == 1 and tag.tokens[0].text == "macro"))


def _filter(name: str, shown: str) -> list[tuple[Verdict, str, str]]:
    if name == "attr":
        return [(Verdict.DANGER, "reaches for an attribute by a name in text (attr)", shown)]
    if name not in _usual()["filters"]:
        return [(Verdict.REVIEW, f"uses a filter that is not usual: {name[:60]}", shown)]
    return []


def _is_operand(token: Token) -> bool:
    return (token.kind == "name" and token.text not in _WORDS) or token.text in (")", "]")


def _composed(tokens: tuple[Token, ...], at: int) -> bool:
    """Whether the bracket at `at` holds a text put together from parts: `x['__cla' ~ 'ss__']`."""
    depth, text, joined = 0, False, False
    for token in tokens[at:]:
        depth += token.text in ("[", "(", "{") and token.kind == "operator"
        depth -= token.text in ("]", ")", "}") and token.kind == "operator"
        if depth == 0:
            break
        text = text or token.kind == "string"
        joined = joined or token.text in ("~", "+", "%", "|", "join", "format", "*", "reverse")
    return text and joined
