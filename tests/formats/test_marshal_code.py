"""Byte code is read without making code objects, and the reader survives what would crash Python."""

from __future__ import annotations

import dis
import marshal
import random
from typing import Any

import pytest

from nbguard.formats.marshal_code import MarshalError, read


def sample(x: Any, y: int = 3) -> Any:
    import os

    def inner() -> Any:
        return os.getcwd() + str(y) + "text" + str(12345678901234567890 + 1.5 + abs(2j))

    return inner, x[1:2], {1, 2}, b"bytes", "ü", {3: 4}


def names_of(code: Any) -> set[str]:
    return set(code.co_names).union(*(names_of(c) for c in code.co_consts if hasattr(c, "co_names")))


def test_names_and_texts_are_those_of_the_code() -> None:
    code = read(marshal.dumps(sample.__code__))
    assert code.all_names() == names_of(sample.__code__)
    assert {"text", "ü", "bytes"} <= set(code.all_texts())
    assert code.crafted() is None


def test_the_listing_shows_what_is_called() -> None:
    listing = read(marshal.dumps(sample.__code__)).listing()
    assert "IMPORT_NAME os" in listing
    assert "getcwd" in listing


def test_the_modules_of_the_library_are_read_too() -> None:
    for module in (pytest, random):
        with open(module.__file__, encoding="utf-8") as file:
            code = compile(file.read(), module.__file__, "exec")
        ours = read(marshal.dumps(code))
        assert ours.all_names() == names_of(code)
        assert ours.crafted() is None


def old_code(version: str) -> bytes:
    """A code object as Python 3.7 and 3.8 wrote it: `lambda x: os.system`."""

    def text(value: str) -> bytes:
        return b"z" + bytes([len(value)]) + value.encode()

    numbers = {"3.7": (1, 0, 1, 1, 67), "3.8": (1, 0, 0, 1, 1, 67)}[version]
    head = b"c" + b"".join(n.to_bytes(4, "little") for n in numbers)
    code = b"s\x08\0\0\0t\0j\x01S\0\0\0"
    names = b")\x02" + text("os") + text("system")
    rest = b")\x01N" + names + b")\x01" + text("x") + b")\0" + b")\0" + text("<stdin>") + text("<lambda>")
    return head + code + rest + (1).to_bytes(4, "little") + b"s\0\0\0\0"


@pytest.mark.parametrize("version", ["3.7", "3.8"])
def test_code_of_older_versions_is_told_apart(version: str) -> None:
    code = read(old_code(version))
    assert code.all_names() == {"os", "system"}
    assert code.version == {"3.7": "3.0-3.7", "3.8": "3.8-3.10"}[version]
    assert "system" in code.listing()


def test_a_constant_that_is_not_there_is_crafted() -> None:
    raw = bytearray(marshal.dumps((lambda: "text").__code__))
    raw[raw.index(dis.opmap["RESUME"]) + 3] = 200  # the argument of what follows
    assert "LOAD_CONST" in str(read(bytes(raw)).crafted())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"N",
        marshal.dumps(sample.__code__)[:-3],
        marshal.dumps(sample.__code__) + b"N",
        b"c" + b"\xff" * 40,
        b"r\x05\0\0\0",
        b"(" + b"\xff\xff\xff\x7f",
        b")\x01" * 5000,
        b"\xa8\x01r\0\0\0\0",
    ],
)
def test_what_is_no_code_is_refused(data: bytes) -> None:
    with pytest.raises(MarshalError):
        read(data)


def test_references_that_unfold_into_a_bomb_stay_folded() -> None:
    levels = 60  # each holds the one below twice, the second time by reference
    bomb = b"\xa9\x02" * levels + b"z\x04text" * 2
    bomb += b"".join(b"r" + (n + 1).to_bytes(4, "little") for n in reversed(range(levels - 1)))
    folded = read(old_code("3.8").replace(b")\x01N", b")\x01" + bomb, 1))
    assert folded.all_texts() == ["text", "text"]
    assert len(folded.listing()) < 10_000


def test_changed_bytes_never_break_the_reader() -> None:
    raw, dice = marshal.dumps(sample.__code__), random.Random(3)
    for _ in range(3000):
        changed = bytearray(raw)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            code = read(bytes(changed))
        except MarshalError:
            continue
        code.crafted(), code.listing(), code.all_names(), code.all_texts()
