"""YAML as its nodes: every tag is told, nothing is made, and bombs end."""

from __future__ import annotations

import pytest

from nbguard.formats.yaml_nodes import MAX_BYTES, read


def test_values_stay_text_and_tags_are_told():
    found = read(b"a: 1\nb: [true, ~, x]\nc: !new:torch.nn.Linear\n  d: {e: f}\n")
    assert found.value == {"a": "1", "b": ["true", "~", "x"], "c": {"d": {"e": "f"}}}
    assert [(t.name, t.line) for t in found.tags] == [("!new:torch.nn.Linear", 3)]


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system [x]",
        "a: !<tag:yaml.org,2002:python/object/apply:os.system> [x]",
        "%TAG !e! tag:yaml.org,2002:python/\n---\na: !e!object/apply:os.system [x]",
        "%TAG !! tag:yaml.org,2002:python/\n---\na: !!object/apply:os.system [x]",
        "? !!python/object/apply:os.system [x]\n: b",
    ],
)
def test_python_tags_are_told_however_they_are_written(text):
    assert [t.name for t in read(text.encode()).tags] == ["!!python/object/apply:os.system"]


def test_keys_that_are_there_twice_are_told():
    found = read(b"a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert found.twice == ("c", "a")
    assert found.value["a"] == "2"


def test_a_bomb_of_aliases_costs_nothing():
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    found = read("\n".join(lines).encode())
    assert found.value["a59"][0] is found.value["a59"][1]
    assert read(b"? &k [a, a]\n: 1\n? [*k, *k]\n: 2\n").value == {"?": "2"}


@pytest.mark.parametrize(
    "data",
    [
        b"a: [", b"a: &x [*x]", b"a: 1\n---\nb: 2\n", b"[" * 5000, b"a: *nobody", b"\xff\xfe", b"\0",
        "a: 1\u2028b: 2".encode(), b"a: 'x\xc2\x85y'", b" " * (MAX_BYTES + 1),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_an_error(data):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the sentence
        read(data)


def test_nothing_at_all():
    assert read(b"").value is None
