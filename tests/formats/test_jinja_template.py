"""Tokens of templates, as Jinja's own lexer has them."""

from __future__ import annotations

import jinja2
import pytest

from nbguard.formats.jinja_template import TemplateError, tags

TEMPLATES = [
    "{% for m in messages %}{{ m['role'] + ': ' ~ m.content | trim }}{% endfor %}",
    "{{- {'a': {'b': [1, 2.5e3, 0x_ff]}}['a'] -}} text {%- if x is defined and not y -%}yes{%+ endif %}",
    '{# a {{ comment }} #}{% raw %}{{ not this }}{% endraw %}{{ \'}}\' }}{{ "{% \\" %}" }}',
    "{% set ns = namespace(found=false) %}{% macro f(a, b='x') %}{{ a // b ** 2 }}{% endmacro %}{{ f(1)[0:2] }}",
    "{{ '\\x41\\u0042\\n' }}{{ a.b.c(d, *e, **f) }}{{ x >= 1 and y != 2 or z % 3 }}",
    "{{ x.0.1 }}{{ x.5e3 }}{{ 1.5e3 }}",
    "no tags at all { { } }",
    "line one\n{{ 'text\nover lines' }}\n{% if a %}\n{% endif %}",
]
_BOUNDS = ("variable_begin", "variable_end", "block_begin", "block_end")


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tokens_are_those_of_the_library(template: str) -> None:
    stream = jinja2.Environment().lexer.tokenize(template)
    expected: list[list[str]] = []
    while stream:
        token = next(stream)
        if token.type in ("variable_begin", "block_begin"):
            expected.append([])
        elif token.type not in ("variable_end", "block_end", "data"):
            expected[-1].append(str(token.value))
    found = list(tags(template))
    assert len(found) == len(expected)
    for tag, values in zip(found, expected, strict=True):
        mine = [t.text if t.kind != "number" else str(_number(t.text)) for t in tag.tokens]
        assert mine == values


def _number(text: str) -> float | int:
    return int(text.replace("_", ""), 0) if "." not in text and "e" not in text else float(text)


@pytest.mark.parametrize(
    "template",
    [
        "{{ a",
        "{% if",
        "{# open",
        "{% raw %} {{ x }}",
        "{{ (a] }}",
        "{{ a) }}",
        "{{ 'open }}",
        "{{ a ? b }}",
        "{{ '\\x4' }}",
    ],
)
def test_what_jinja_refuses_is_an_error(template: str) -> None:
    with pytest.raises(TemplateError):
        list(tags(template))
    with pytest.raises((jinja2.TemplateSyntaxError, UnicodeDecodeError)):
        jinja2.Environment().parse(template)
