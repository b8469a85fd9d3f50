"""What a chat template would do when a prompt is made with it.

    judge(job, source, "tokenizer.chat_template", facts)

Templates are programs in a language without imports, run in a sandbox by current libraries and without one by older
ones (llama-cpp-python before 0.2.72, CVE-2024-34359). The way out of the language is through attributes with double
underscores, or past the sandbox through `format` (CVE-2016-10745, CVE-2019-10906, CVE-2024-56326, CVE-2025-27516);
templates of real models use a small vocabulary, and whatever lies beyond it is told. A name of that vocabulary that the
template gives another meaning is none of it any more. What a template says, and when, is for `template_words` and
`template_flow`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from nbguard.formats.jinja_template import Tag, TemplateError, Text, Token, parts
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners import template_flow, template_words
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

MAX_TEMPLATE = 1 << 18
"""Characters; the longest templates of real models have some tens of thousands."""
MAX_TOKENS = 20_000
"""Of one tag."""
_BRACKET = 400
"""Tokens within a bracket that are looked at for how a name is put together."""
_DUNDER = re.compile(r"__")
_PART = re.compile(r"\s*(?:__\w*|\w*__)\s*\Z")
_ATTRIBUTE = re.compile(
    r"[.{\[]\s*\w*\.?__\w+|__(?:class|mro|bases?|subclasses|globals|builtins|init|new|call|dict|import|code|closure|func|self"
    r"|module|reduce|reduce_ex|getattribute|getattr|getitem|doc|name|qualname|loader|spec|file|wrapped|subclasshook)__"
)
_ENDS_OPERAND = (")", "]", "}")
_PLAIN_VALUES = frozenset({"true", "false", "none", "True", "False", "None", "[", "{", "-"})
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
        pieces = [_together(piece) for piece in parts(source)]
    except TemplateError as error:
        facts.unverifiable("template.malformed", job.path, where[:200], str(error))
        return
    found = [piece for piece in pieces if isinstance(piece, Tag)]
    if any(len(tag.tokens) > MAX_TOKENS for tag in found):
        facts.unverifiable(
            "template.size", job.path, where[:200], "A tag of the chat template is longer than any real one."
        )
        return
    macros = {t.tokens[1].text for t in found if t.statement and len(t.tokens) > 1 and t.tokens[0].text == "macro"}
    own = _given(found)
    seen: set[tuple[str, str]] = set()
    for tag in found:
        for verdict, what, evidence in (*_look(tag, macros), *_formats(tag), *_renamed(tag, macros, own)):
            if (what, evidence) not in seen and (len(seen) < 20 or verdict > facts.verdict):
                seen.add((what, evidence))
                _tell(job, f"{where} line {tag.line}", verdict, what, evidence, facts)
    _words(job, source, pieces, where, facts)


def _together(piece: Tag | Text) -> Tag | Text:
    """Texts that follow each other are one, as Jinja's parser takes them (`jinja2/parser.py`, `parse_primary`)."""
    if isinstance(piece, Text):
        return piece
    tokens: list[Token] = []
    run: list[str] = []
    for token in (*piece.tokens, Token("", "")):
        if token.kind == "string":
            run.append(token.text)
            continue
        if run:
            tokens.append(Token("string", "".join(run)))
            run = []
        tokens.append(token)
    return Tag(piece.statement, tuple(tokens[:-1]), piece.line)


def _words(job: Job, source: str, pieces: list[Tag | Text], where: str, facts: Facts) -> None:
    """What it says to the model, when, and what it costs: for a person to read."""
    written = list(template_words.unseen(source))
    spoken = [odd for odd in template_words.judge(pieces) if not (written and odd.rule == written[0].rule)]
    for odd in (
        *written,
        *spoken,
        *template_flow.judge(pieces, _usual()["keys"]),
    ):
        facts.add(
            Finding(
                odd.rule,
                Severity.MEDIUM,
                job.path,
                f"{where} line {odd.line}"[:300],
                f"The chat template {odd.what}.",
                evidence=odd.evidence[:500],
                meaning=odd.meaning,
                remedy="Read the template before you make prompts with it, or set one of your own.",
            ),
            Verdict.REVIEW,
        )


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
    shown = _shown(tokens)
    if tag.statement and tokens and tokens[0].text not in _usual()["statements"]:
        found.append((Verdict.REVIEW, f"has a statement that is not usual: {tokens[0].text[:40]}", shown))
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else Token("", "")
        after = tokens[at + 1] if at + 1 < len(tokens) else Token("", "")
        attribute = before.text == "." and before.kind == "operator"
        filtered = (before.text == "|" and before.kind == "operator") or (
            at == 1 and tag.statement and before.text == "filter"
        )
        if token.kind in ("name", "string") and _DUNDER.search(token.text) and _reaches(token, attribute):
            found.append((Verdict.DANGER, "reaches for an attribute with double underscores", shown))
        elif token.kind == "name" and filtered:
            found += _filter(token.text, tokens[at + 2 : at + 3], shown)
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


def _formats(tag: Tag) -> list[tuple[Verdict, str, str]]:
    """`format` looks attributes up by names in its text, past the sandbox where that text is not written out."""
    out: list[tuple[Verdict, str, str]] = []
    for at, token in enumerate(tag.tokens[1:], 1):
        before = tag.tokens[at - 1]
        named = token.kind == "name" and before == Token("operator", ".")
        named = named or (token.kind == "string" and before == Token("operator", "["))
        if not named or token.text not in ("format", "format_map"):
            continue
        called = tag.tokens[at + 1 : at + 2] == (Token("operator", "("),)
        written = at > 1 and tag.tokens[at - 2].kind == "string"
        if token.text == "format_map" or (not called and written):
            out.append((Verdict.DANGER, "takes hold of a way around the sandbox (format)", _shown(tag.tokens)))
        elif called and not written:
            out.append((Verdict.REVIEW, "fills in a text that is put together elsewhere (format)", _shown(tag.tokens)))
    return out


def _given(found: list[Tag]) -> set[str]:
    """Names of methods that the template itself gives to something: `ns.strip = …`, `dict(strip=…)`, `{'strip': …}`."""
    methods = _usual()["methods"]
    out: set[str] = set()
    for tag in found:
        for at, token in enumerate(tag.tokens[:-1]):
            after = tag.tokens[at + 1]
            if token.text in methods and after.kind == "operator" and after.text in ("=", ":") and at:
                value = tag.tokens[at + 2 : at + 3]
                if value and value[0].kind in ("name", "operator") and value[0].text not in _PLAIN_VALUES:
                    out.add(token.text)
    return out


def _renamed(tag: Tag, macros: set[str], own: set[str]) -> list[tuple[Verdict, str, str]]:
    """Calls of what only looks like a known function or method."""
    out: list[tuple[Verdict, str, str]] = []
    tokens = tag.tokens
    if tag.statement and tokens and tokens[0].text in ("set", "for", "with"):
        word = "in" if tokens[0].text == "for" else "="
        end = next((i for i, t in enumerate(tokens) if t.text == word and t.kind != "string"), 0)
        for at, token in enumerate(tokens[1:end], 1):
            plain = token.kind == "name" and tokens[at - 1].text != "." and tokens[at + 1].text != "."
            if plain and token.text in (_usual()["functions"] | macros) - {"dict"}:
                out.append((Verdict.REVIEW, f"gives another meaning to {token.text[:60]}", _shown(tokens)))
    for at, token in enumerate(tokens[1:-1], 1):
        if token.text in own and tokens[at - 1].text == "." and tokens[at + 1] == Token("operator", "("):
            out.append((Verdict.REVIEW, f"calls something that it set itself: {token.text[:60]}", _shown(tokens)))
    return out


def _shown(tokens: tuple[Token, ...]) -> str:
    return " ".join(t.text if t.kind != "string" else repr(t.text[:200]) for t in tokens[:200])[:500]


def _filter(name: str, argument: tuple[Token, ...], shown: str) -> list[tuple[Verdict, str, str]]:
    if name == "attr" or (name == "map" and argument and argument[0] == Token("string", "attr")):
        return [(Verdict.DANGER, "reaches for an attribute by a name in text (attr)", shown)]
    if name in ("map", "select", "reject") and argument and argument[0].kind == "string":
        known = _usual()["filters"] | _usual()["tests"]
        if argument[0].text not in known:
            return [(Verdict.REVIEW, f"uses a filter that is not usual: {argument[0].text[:60]}", shown)]
    if name == "map" and argument and argument[0].kind == "name" and argument[0].text not in ("attribute", "default"):
        return [(Verdict.REVIEW, "uses a filter whose name is put together elsewhere", shown)]
    if name not in _usual()["filters"]:
        return [(Verdict.REVIEW, f"uses a filter that is not usual: {name[:60]}", shown)]
    return []


def _is_operand(token: Token) -> bool:
    return (token.kind == "name" and token.text not in _WORDS) or token.text in (")", "]")


def _composed(tokens: tuple[Token, ...], at: int) -> bool:
    """Whether the bracket at `at` holds a text put together from parts: `x['__cla' ~ 'ss__']`."""
    depth, text, joined = 0, False, False
    for token in tokens[at : at + _BRACKET]:
        depth += token.text in ("[", "(", "{") and token.kind == "operator"
        depth -= token.text in ("]", ")", "}") and token.kind == "operator"
        if depth == 0:
            break
        text = text or token.kind == "string"
        joined = joined or token.text in ("~", "+", "%", "|", "join", "format", "*", "reverse")
    return text and joined


FORMATS = (
    Format(
        "jinja-template",
        "chat templates (Jinja)",
        ("chat_template.jinja", "additional_chat_templates/*.jinja", "the key `chat_template` of JSON and GGUF"),
        "By the name under which transformers reads it, or by the key that holds it.",
        "Every expression and statement: attributes with double underscores, `attr`, ways around the sandbox through"
        " `format`, calls, filters and statements beyond what templates of real models use; words that the template"
        " looks for in the conversation, conditions on the date; sentences added to what the user wrote; characters"
        " that are not shown, encoded text, addresses, calls of tools, instructions against the user; loops and numbers"
        " that take all time or memory.",
        "What the words mean: a plain instruction in a system prompt is ordinary, whatever it asks for. Conditions on"
        " single letters, or on marks that look like those of a format. Values that only exist while a prompt is made.",
        "*safe*; *review* for what real templates do without; *danger* for the ways out of the language;"
        " *unverifiable* where Jinja could not read it",
    ),
)
