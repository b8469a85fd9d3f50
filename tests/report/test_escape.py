"""Text that came from a model can neither act nor deceive where it is shown."""

from __future__ import annotations

import html as stdlib_html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.report import escape


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b31m", "\\x9b31m"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("a\u200bb\ufeffc\u00ad", "a\\u200bb\\ufeffc\\xad"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("caf\udce9", "caf\\udce9"),
        ("\u3164\u2800\u115f", "\\u3164\\u2800\\u115f"),
        ("x\U000e0041\ufe0f", "x\\U000e0041\\ufe0f"),
        ("a\u00a0b\u3000", "a\\xa0b\\u3000"),
        ("z\u0301\u0302\u0303\u0304", "z\u0301\u0302\\u0303\\u0304"),
        ("Grüße, 模型 — ок", "Grüße, 模型 — ок"),
    ],
)
def test_what_hides_or_drives_becomes_visible(hostile: str, shown: str) -> None:
    assert escape.terminal(hostile) == shown


def test_a_block_keeps_its_lines() -> None:
    assert escape.terminal("a\n\tb\x07", block=True) == "a\n\tb\\x07"


def test_length_is_bounded_and_said() -> None:
    assert escape.terminal("x" * 1_000_000, 5) == "xxxxx… (999,995 more characters)"


def test_markup_and_mathematics_are_switched_off() -> None:
    out = escape.html("<b onclick='x'>&\"$\\href{javascript:x}{y}$ \\(a\\)")
    assert "<b" not in out
    assert "'" not in out
    assert '"' not in out
    assert not re.search(r"\$[^<]", out), "no dollar beside text that a typesetter would join it with"
    assert "\\(" not in out


@given(st.text(max_size=400))
def test_nothing_gets_through(text: str) -> None:
    printed = escape.terminal(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in printed)
    plain = re.sub(r"</?span>", "", escape.html(text))
    assert "<" not in plain
    assert stdlib_html.unescape(plain) == printed, "the reader sees what a terminal shows"
    assert not set(escape.attribute(text)) & set("<>\"'")
