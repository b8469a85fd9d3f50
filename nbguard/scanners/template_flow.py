"""When a chat template says what, and what it costs: conditions on the conversation's words and on the date, and loops.

    for odd in judge(list(parts(source)), keys): odd.what, odd.evidence

Templates of real models look at roles, at keys of messages, and for marks of their own in the text (`</think>`); none
of them looks for words that a person would write. Where one does, it can behave in every test and otherwise later on.
What it looks at is followed through `set`, `for` and macros by names alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from nbguard.formats.jinja_template import Tag, Text, Token
from nbguard.scanners.template_words import Odd

MAX_RANGE = 100_000
MAX_NUMBER = 1_000_000
MAX_LOOPS = 6
"""Loops within loops; templates that write out the schema of a tool have four."""
MAX_FOUND = 20
MAX_MARK = 200
"""Characters of a mark of a format."""
MAX_CALLS = 2_000
"""Calls of macros whose arguments are followed."""
_CONTENT = frozenset({"content", "text", "prompt", "query", "input", "instruction", "question"})
_WHOLE = frozenset({"string", "tojson", "values", "join", "items", "list"})
_WORD = re.compile(r"[^\W\d_]{3}")
_MARK = re.compile(
    r"\W*</?[^<>]{0,40}>?\W*|[^<>\s]{0,30}>\W*|\W*\[[^\[\]]{0,30}\]\W*|\s*/\w{1,30}\s*|\W*\{[^{}]{0,40}\}\W*|\W*\|[^|]{0,30}\|\W*"
)
"""Marks of a format, which no person writes: `</think>`, `[TOOL_CALLS]`, `/no_think`."""
_SPECIAL = re.compile(r"<\|[^<>|]{1,40}\|>|</[\w:.-]{1,40}>")
_FEW = re.compile(r"[^\W\d_]{1,2}")
MOST_LETTERS = 3
"""Comparisons with one or two letters in one tag."""
_TESTS = frozenset({"eq", "equalto", "ne", "sameas", "in"})
_COMPARES = frozenset({"==", "!=", ">", "<", ">=", "<="})
_BORDERS = frozenset({",", "=", "==", "!=", ">", "<", ">=", "<="})
"""With these an operand ends."""
_STOPS = frozenset({"and", "or", "not", "if", "else", "elif", "set", "is"})
_SEARCHES = ("startswith", "endswith", "find", "rfind", "index", "rindex", "count", "split", "rsplit", "partition",
             "rpartition", "replace", "removeprefix", "removesuffix", "strip")  # fmt: skip
_LOOKS = "It says something else to the model when a person uses certain words."
_SENTENCE = re.compile(r"(?:[^\W\d_]{2,30}[^\w<>\[\]{}|\n]{1,3}){5,20}[^\W\d_]{2,30}")
_OPEN, _CLOSE = ("(", "[", "{"), (")", "]", "}")


def judge(found: list[Tag | Text], keys: Collection[str]) -> list[Odd]:
    """Everything of that kind, at most `MAX_FOUND`. `keys` are words that templates of real models look for."""
    out: list[Odd] = []
    names = _Names([part for part in found if isinstance(part, Tag)])
    for odd in (*_conditions(found, names, keys), *_beside(found, names), *_costs(found)):
        if odd not in out:
            out.append(odd)
        if len(out) >= MAX_FOUND:
            break
    return out


class _Names:
    """What names stand for: text of the conversation, the date, or texts of the template itself."""

    def __init__(self, tags: list[Tag]) -> None:
        self.content: set[str] = set(_CONTENT)
        self.dates: set[str] = {"strftime_now"}
        self.texts: dict[str, set[str]] = {}
        macros = {t.tokens[1].text: _parameters(t.tokens) for t in tags if _is(t, "macro") and len(t.tokens) > 1}
        given = [(names, expression) for t in tags for names, expression in _assigned(t)]
        calls = [
            (macros[token.text], tag.tokens[at + 1 :])
            for tag in tags
            for at, token in enumerate(tag.tokens[:-1])
            if token.kind == "name" and token.text in macros and tag.tokens[at + 1].text == "("
        ][:MAX_CALLS]
        for _ in range(3):  # names that are set from names that are set further down, in loops
            for names, expression in (*given, *calls):
                self._give(names, expression)

    def _give(self, names: list[str], expression: tuple[Token, ...]) -> None:
        if self.is_content(expression):
            self.content.update(names)
        if any(t.kind == "name" and t.text in self.dates for t in expression):
            self.dates.update(names)
        texts = {t.text for t in expression if t.kind == "string"}
        for token in expression:
            if token.kind == "name":
                texts |= self.texts.get(token.text, set())
        for name in names:
            held = self.texts.setdefault(name, set())
            if len(held) < 200:
                held.update(list(texts)[:50])

    def is_content(self, tokens: tuple[Token, ...]) -> bool:
        """Whether an operand is what a person or the model wrote, not a role or a kind that stands beside it."""
        if all(t.kind in ("string", "operator", "number") for t in tokens):
            return False
        last = next((t for t in reversed(tokens) if t.kind in ("name", "string") and t.text not in _WHOLE), None)
        if last is not None and last.text in ("type", "role", "name", "kind", "length", "tool_calls", "function"):
            return False
        words = {t.text for t in tokens if t.kind in ("name", "string")}
        whole = "messages" in words or "message" in words or "conversation" in words
        return bool(words & self.content) or (whole and bool(words & _WHOLE - {"list", "items"}))


def _is(tag: Tag, word: str) -> bool:
    return tag.statement and bool(tag.tokens) and tag.tokens[0].text == word


def _parameters(tokens: tuple[Token, ...]) -> list[str]:
    return [t.text for i, t in enumerate(tokens[2:200], 2) if t.kind == "name" and tokens[i - 1].text in ("(", ",")]


def _assigned(tag: Tag) -> Iterator[tuple[list[str], tuple[Token, ...]]]:
    """(names, expression) of `set a, b = …`, `for a, b in …` and `with a = …`; of `ns.a`, the `a`."""
    if not tag.statement or not tag.tokens or tag.tokens[0].text not in ("set", "for", "with"):
        return
    word = "in" if tag.tokens[0].text == "for" else "="
    at = next((i for i, t in enumerate(tag.tokens) if t.text == word and t.kind != "string"), None)
    if at is None:
        return
    yield [t.text for t in tag.tokens[1:at] if t.kind == "name"][-20:], tag.tokens[at + 1 :]


def _conditions(found: list[Tag | Text], names: _Names, keys: Collection[str]) -> Iterator[Odd]:
    for part in found:
        if not isinstance(part, Tag):
            continue
        tokens = part.tokens
        letters = 0
        for at, token in enumerate(tokens):
            if _chosen_by(tokens, at, names):
                yield Odd("template.condition", "chooses by what stands in the conversation", _shown(tokens), part.line,
                          _LOOKS)  # fmt: skip
            texts, operand = _looked_for(tokens, at, names)
            if texts and names.is_content(operand):
                letters += any(_FEW.fullmatch(text) for text in texts)
                if letters == MOST_LETTERS:
                    yield Odd("template.condition", "looks for words letter by letter", _shown(tokens), part.line,
                              _LOOKS)  # fmt: skip
                for text in sorted(texts):
                    marked = len(text) <= MAX_MARK and (_MARK.fullmatch(text) or _SPECIAL.search(text))
                    if _WORD.search(text) and not marked and text.strip().lower() not in keys:
                        yield Odd("template.condition", f"looks for the words {text[:80]!r} in the conversation",
                                  _shown(tokens), part.line, _LOOKS)  # fmt: skip
            compared = token.text in _COMPARES if token.kind == "operator" else token.text == "in" and at > 1
            if token.kind != "string" and compared and _dated(tokens, at, names):
                yield Odd("template.date", "does something else from a date on", _shown(tokens), part.line,
                          "It would behave in every test until then.")  # fmt: skip


def _looked_for(tokens: tuple[Token, ...], at: int, names: _Names) -> tuple[set[str], tuple[Token, ...]]:
    """(texts, operand that they are compared with) of the comparison at `at`; nothing where there is none."""
    token = tokens[at]
    before, after = _before(tokens, at), _after(tokens, at)
    if token.kind == "operator" and token.text in ("==", "!="):
        left, right = _texts(before, names), _texts(after, names)
        return (right, before) if names.is_content(before) else (left, after)
    if token.kind == "name" and token.text == "in" and at > 1 and tokens[0].text != "for":
        left = _texts(before[:-1] if before and before[-1].text == "not" else before, names)
        return (left, after) if names.is_content(after) else (_texts(after, names), before)
    if token.kind == "name" and token.text == "is" and at and at + 2 < len(tokens):  # `x is in y`, `x is eq 'y'`
        test = at + 1 + (tokens[at + 1].text == "not")
        behind = _after(tokens, test)
        if tokens[test].text in _TESTS:
            return (_texts(before, names), behind) if names.is_content(behind) else (_texts(behind, names), before)
    called = at + 2 < len(tokens) and tokens[at + 1].text == "("
    if token.kind == "name" and called and at and tokens[at - 1].text in (".", "|"):
        if token.text in _SEARCHES:
            return _texts(_arguments(tokens, at + 1), names), _before(tokens, at - 1)
        arguments = _arguments(tokens, at + 1)
        if token.text in ("select", "reject") and names.is_content(_before(tokens, at - 1)):
            return {t.text for t in arguments[1:] if t.kind == "string"}, _before(tokens, at - 1)
        if token.text in ("selectattr", "rejectattr") and arguments and arguments[0].text in _CONTENT:
            tests = ("equalto", "defined", "undefined", "string", "none", "mapping", "iterable", "sequence")
            texts = {t.text for t in arguments[1:] if t.kind == "string" and t.text not in tests}
            return texts, (Token("name", "content"),)
    return set(), ()


def _chosen_by(tokens: tuple[Token, ...], at: int, names: _Names) -> bool:
    """`{'word': …}[content]`, and `words.get(content)`."""
    token, before = tokens[at], tokens[at - 1] if at else Token("", "")
    if token.kind == "operator" and token.text == "[":
        held = before.kind == "name" or before.text in (")", "]", "}")
        inner = _arguments(tokens, at) if held and before.text not in _STOPS | {"in"} else ()
        return bool(inner) and not any(t.text == ":" for t in inner) and names.is_content(inner)
    if token.kind == "name" and token.text == "get" and before.text == "." and tokens[at + 1 : at + 2]:
        return tokens[at + 1].text == "(" and names.is_content(_arguments(tokens, at + 1))
    return False


def _texts(tokens: tuple[Token, ...], names: _Names) -> set[str]:
    written = [t.text for t in tokens if t.kind == "string"]
    out = {*written, "".join(written)} if any(t.text in ("~", "+", "join") for t in tokens) else set(written)
    for token in tokens[:50]:
        if token.kind == "name" and token.text not in names.content:
            out |= names.texts.get(token.text, set())
    return out


def _before(tokens: tuple[Token, ...], at: int) -> tuple[Token, ...]:
    depth, start = 0, at
    while start > max(0, at - 200):
        token = tokens[start - 1]
        if token.kind != "string":
            depth += (token.text in _CLOSE) - (token.text in _OPEN)
            if depth < 0 or (depth == 0 and (token.text in _STOPS or token.text in _BORDERS)):
                break
        start -= 1
    return tokens[start:at]


def _after(tokens: tuple[Token, ...], at: int) -> tuple[Token, ...]:
    depth, end = 0, at + 1
    while end < min(len(tokens), at + 200):
        token = tokens[end]
        if token.kind != "string":
            depth += (token.text in _OPEN) - (token.text in _CLOSE)
            if depth < 0 or (depth == 0 and (token.text in _STOPS or token.text in _BORDERS)):
                break
        end += 1
    return tokens[at + 1 : end]


def _arguments(tokens: tuple[Token, ...], at: int) -> tuple[Token, ...]:
    """What stands in the bracket that opens at `at`."""
    depth = 0
    for end in range(at, min(len(tokens), at + 200)):
        if tokens[end].kind != "string":
            depth += (tokens[end].text in _OPEN) - (tokens[end].text in _CLOSE)
        if depth == 0:
            return tokens[at + 1 : end]
    return tokens[at + 1 : at + 200]


def _dated(tokens: tuple[Token, ...], at: int, names: _Names) -> bool:
    """Whether the date is compared with a certain one, rather than a text that holds it with no text at all."""
    for side, other in ((_before(tokens, at), _after(tokens, at)), (_after(tokens, at), _before(tokens, at))):
        dated = any(t.kind == "name" and t.text in names.dates for t in side)
        measured = any(t.text == "length" for t in side)
        if dated and not measured and any(t.kind in ("string", "number") and re.search(r"\w", t.text) for t in other):
            return tokens[0].text != "for"
    return False


def _beside(found: list[Tag | Text], names: _Names) -> Iterator[Odd]:
    """Sentences that are added to what the user wrote: in a branch for that role, in the same breath as the content."""
    branches: list[bool] = []
    for part in found:
        if isinstance(part, Text):
            spoken = "" if part.comment else part.text
            shown = spoken[:300]
        elif part.statement and part.tokens:
            word = part.tokens[0].text
            if word == "if":
                branches.append(_of_user(part.tokens))
            elif word in ("elif", "else") and branches:
                branches[-1] = _of_user(part.tokens)
            elif word == "endif" and branches:
                branches.pop()
            continue
        else:
            refused = any(t.text == "raise_exception" for t in part.tokens)
            spoken = "" if refused else "".join(t.text for t in part.tokens if t.kind == "string")
            shown = _shown(part.tokens)
        if any(branches) and _SENTENCE.search(spoken[:20_000]):
            yield Odd("template.adds", "adds sentences of its own to what the user wrote", shown[:400], part.line,
                      "The model takes them for the user's words.")  # fmt: skip


def _of_user(tokens: tuple[Token, ...]) -> bool:
    """`if message.role == 'user'`, and nothing else that it could be."""
    words = [t.text for t in tokens if t.kind == "string"]
    named = any(t.text == "role" for t in tokens)
    return named and words.count("user") == 1 and any(t.text == "==" for t in tokens) and len(words) <= 3


def _costs(found: list[Tag | Text]) -> Iterator[Odd]:
    loops: list[int] = []
    for part in found:
        if not isinstance(part, Tag):
            continue
        tokens = part.tokens
        if _is(part, "for"):
            loops.append(_steps(tokens))
            product = 1
            for steps in loops[-50:]:
                product *= steps
            if product > MAX_RANGE or len(loops) > MAX_LOOPS:
                yield _costly("goes round very often in its loops", part)
        elif _is(part, "endfor") and loops:
            loops.pop()
        for at, token in enumerate(tokens):
            if token.kind == "operator" and token.text == "**":
                yield _costly("raises a number to a power", part)
            elif token.kind == "number" and _product(tokens, at) > MAX_NUMBER:
                yield _costly("reckons with a very large number", part)
            elif token.kind == "operator" and token.text in ("~", "+", "*") and _doubles(tokens, at):
                yield _costly("makes a text longer and longer out of itself", part)


def _doubles(tokens: tuple[Token, ...], at: int) -> bool:
    """`a ~ a`, `ns.a + ns.a`, and `set a = a * 10`."""
    left, right = tokens[max(0, at - 3) : at], tokens[at + 1 : at + 4]
    if not left or not right or left[-1].kind != "name":
        return False
    if tokens[at].text == "*":
        return (
            tokens[0].text == "set"
            and len(tokens) > 3
            and tokens[1] == left[0]
            and tokens[at + 1].text not in ("1", "0")
        )
    alone = (len(left) < 2 or left[-2].text != ".") and (len(right) < 2 or right[1].text not in (".", "[", "("))
    return (alone and left[-1] == right[0]) or (len(left) == 3 and left[1].text == "." and left == right)


def _costly(what: str, part: Tag) -> Odd:
    return Odd(
        "template.costly", what, _shown(part.tokens), part.line, "Making a prompt would take all memory or time."
    )


def _steps(tokens: tuple[Token, ...]) -> int:
    """How often a loop goes round at least, as far as it says so."""
    for at, token in enumerate(tokens):
        if token.kind == "name" and token.text == "range":
            numbers = [_product(tokens, i) for i in range(at, min(len(tokens), at + 20)) if tokens[i].kind == "number"]
            return max(numbers, default=1) or 1
    return 1


def _product(tokens: tuple[Token, ...], at: int) -> int:
    """The number at `at`, times those that it is multiplied with."""
    value = 1
    for i in range(at, min(len(tokens), at + 20), 2):
        if tokens[i].kind != "number":
            break
        value *= _number(tokens[i].text)
        if i + 1 >= len(tokens) or tokens[i + 1].text != "*":
            break
    return value


def _number(text: str) -> int:
    try:
        return abs(int(text[:40].replace("_", ""), 0)) if len(text) <= 40 else MAX_NUMBER + 1
    except ValueError:
        try:
            return int(min(float(text.replace("_", "")), 1e30))
        except (ValueError, OverflowError):
            return int(text) if text.isdigit() else MAX_NUMBER + 1


def _shown(tokens: tuple[Token, ...]) -> str:
    text = " ".join(t.text if t.kind != "string" else repr(t.text[:200]) for t in tokens[:80])
    return text.encode("ascii", "backslashreplace").decode("ascii")[:400]


__all__ = ["judge"]
