"""Expressions that hold arithmetic and nothing else."""

from __future__ import annotations

import pytest

from nbguard.formats.expressions import problem

FUNCTIONS = frozenset({"Symbol", "Integer", "Mul", "Max", "Pow"})
METHODS = frozenset({"size", "math"})


@pytest.mark.parametrize(
    "text",
    [
        "Mul(Integer(2), Symbol('s65', positive=True, integer=True))",
        "2*s65 + 1",
        "Max(1, s0 // 2) >= 3",
        "s0**2 % 7",
        "Pow(Symbol('s0'), Integer(-1))",
        "-1.5",
        "L['x']['a b'].size()[0] == L['y'][0].size()[1] and not False",
    ],
)
def test_arithmetic_is_in_order(text: str) -> None:
    assert problem(text, functions=FUNCTIONS, methods=METHODS, subscripts=True) is None


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "().__class__",
        "Symbol.__init__.__globals__",
        "(lambda: 0)()",
        "[x for x in y]",
        "f'{x}'",
        "eval('1')",
        "Symbol('s') if (y := 1) else 2",
        "Symbol('a\\'b\"c')",
        "9**9**9",
        "10**1000",
        "1 << 100000",
        "1" * 60,
        "x # y",
        "x\ny",
        "x; y",
        "x = 1",
        "Symbol(*a, **b)",
        "",
        "(" * 300 + ")" * 300,
        "a" * 30_000,
        "x['__class__']",
        "Max(('import a',), key=exec)",
        "Max('a.__class__')",
        "Symbol('s', **x)",
        "Pow(Integer(2), Integer(1000000000))",
        "Symbol('s', precision=100000000)",
        "2**s",
    ],
)
def test_everything_else_is_told(text: str) -> None:
    assert problem(text, functions=FUNCTIONS, methods=METHODS) is not None


def test_subscripts_only_where_they_belong() -> None:
    assert problem("x[0]", functions=FUNCTIONS) == "a subscript"
    assert problem("x[0]", functions=FUNCTIONS, subscripts=True) is None
