"""Expressions in text that a library would evaluate: whether they hold nothing but arithmetic on names and numbers.

    problem("Mul(Integer(2), Symbol('s65', positive=True))", functions={"Mul", "Integer", "Symbol"})     # None
    problem("().__class__", functions=set())                # "an attribute (__class__)"

They are parsed, never evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Set

MAX_TEXT = 20_000
"""Characters of one expression."""
MAX_LITERAL = 1 << 20
"""Characters of one literal; lists of thousands of names have some tens of thousands."""
MAX_EXPONENT = 64
MAX_NUMBER = 1 << 128
_POWERS = frozenset({"Pow", "PowByNatural", "FloatPow", "LShift"})
_WORD = re.compile(r"[A-Za-z]\w*\Z", re.ASCII)
_TEXT = re.compile(r"(?!.*__)[\w .-]*\Z", re.ASCII)
"""What a text in an expression may hold: names of symbols, keys of inputs, decimal numbers."""
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Tuple, ast.Load, ast.operator,
    ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_LITERAL = (
    ast.Expression, ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.USub,
    ast.UAdd, ast.BinOp, ast.Sub, ast.Add,
)  # fmt: skip


def problem(text: str, *, functions: Set[str], methods: Set[str] = frozenset(), subscripts: bool = False) -> str | None:
    """What is in `text` besides arithmetic, in a few words; None where there is nothing.

    Args:
        functions: names that may be called.
        methods: names that may stand behind a dot, called or not.
        subscripts: whether `x['key'][0]` is in order.
    """
    if len(text) > MAX_TEXT:
        return "more text than in any real one"
    if "\n" in text or "\r" in text or "#" in text or ";" in text or not text.isprintable():
        return "characters that end an expression"
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "something that is no expression"
    for node in ast.walk(tree):
        found = _odd(node, functions, methods, subscripts)
        if found is not None:
            return found
    return None


def acts(text: str) -> str | None:
    """What evaluating `text` would do besides making plain values, in a few words; None where it would do nothing else.

    Text that is no expression, or only a name, is none that does anything.
    """
    if len(text) > MAX_LITERAL:
        return "more text than in any real one"
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return None
    except (ValueError, RecursionError, MemoryError):
        return "something that nobody can read"
    odd = next((n for n in ast.walk(tree) if not isinstance(n, _LITERAL)), None)
    return None if odd is None else f"{type(odd).__name__.lower()} in an expression"


def _odd(node: ast.AST, functions: Set[str], methods: Set[str], subscripts: bool) -> str | None:
    match node:
        case ast.Name(id=name):
            return None if _WORD.match(name) else f"a name with underscores ({name[:60]})"
        case ast.Constant(value=bool() | None):
            return None
        case ast.Constant(value=int() | float() as number):
            return None if abs(number) < MAX_NUMBER or number == float("inf") else "a number beyond measure"
        case ast.Constant(value=str(text)):
            return None if _TEXT.match(text) else "text of its own"
        case ast.Call(func=ast.Name(id=name), args=arguments):
            if name in _POWERS and any(_large(inner) for inner in arguments[1:]):
                return "a power beyond measure"
            return None if name in functions else f"a call of {name[:60]}"
        case ast.keyword(value=value):  # `key=exec` would hand over what is called
            plain = isinstance(value, ast.Constant) and not _large(value, 4096)
            return None if plain else "an argument by name that is no number"
        case ast.Call(func=ast.Attribute(attr=name)):
            return None if name in methods else f"a call of {name[:60]}"
        case ast.Attribute(attr=name):
            return None if name in methods else f"an attribute ({name[:60]})"
        case ast.Subscript():
            return None if subscripts else "a subscript"
        case ast.BinOp(op=ast.Pow(), right=power):
            return "a power beyond measure" if _large(power) or not isinstance(power, ast.Constant) else None
        case ast.BinOp(op=ast.LShift()):
            return "a power beyond measure"
    return None if isinstance(node, _NODES) else f"something else than arithmetic ({type(node).__name__})"


def _large(tree: ast.AST, most: int = MAX_EXPONENT) -> bool:
    """Whether a number in it is too large to raise to, or to compute with that many digits."""
    numbers = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return any(isinstance(n, int | float) and abs(n) > most for n in numbers)


__all__ = ["acts", "problem"]
