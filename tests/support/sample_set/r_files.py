"""R's files: what R itself and `rdata` wrote, and files with code that runs by itself, put together item by item.

`rdata` brings files that R wrote, for its own tests; no R is needed here.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from functools import cache
from pathlib import Path

from sample_set import COMMAND, Sample, written

NIL, GLOBAL, UNBOUND = 254, 253, 252
TAGGED = 1 << 10


def number(value: int) -> bytes:
    return struct.pack(">i", value)


HEAD = b"X\n" + number(2) + number(0x040301) + number(0x020300)


def chars(text: str) -> bytes:
    return number(0x40009) + number(len(text)) + text.encode()


def symbol(name: str) -> bytes:
    return number(1) + chars(name)


def texts(*words: str) -> bytes:
    return number(16) + number(len(words)) + b"".join(map(chars, words))


def numbers(*values: float) -> bytes:
    return number(14) + number(len(values)) + struct.pack(f">{len(values)}d", *values)


def pairs(*items: bytes) -> bytes:
    return b"".join(number(2) + item for item in items) + number(NIL)


def call(function: bytes | str, *arguments: bytes) -> bytes:
    head = symbol(function) if isinstance(function, str) else function
    return number(6) + head + pairs(*arguments)


def promise(expression: bytes) -> bytes:
    return number(5 | TAGGED) + number(GLOBAL) + number(UNBOUND) + expression


def closure(body: bytes) -> bytes:
    return number(3 | TAGGED) + number(GLOBAL) + number(NIL) + body


def values(*items: bytes) -> bytes:
    """A list."""
    return number(19) + number(len(items)) + b"".join(items)


def environment(**variables: bytes) -> bytes:
    frame = b"".join(number(2 | TAGGED) + symbol(name) + item for name, item in variables.items()) + number(NIL)
    return number(4) + number(0) + number(GLOBAL) + frame + number(NIL) + number(NIL)


def image(**variables: bytes) -> bytes:
    """As `save` writes variables."""
    items = (number(2 | TAGGED) + symbol(name) + item for name, item in variables.items())
    return b"RDX2\n" + HEAD + b"".join(items) + number(NIL)


def alternative(kind: str, package: str, state: bytes) -> bytes:
    return number(238) + pairs(symbol(kind), symbol(package), number(13) + number(1) + number(14)) + state + number(NIL)


RUNS = call("system", texts(COMMAND))


def of_r(name: str) -> bytes:
    """A file that R wrote."""
    import rdata.tests

    return (Path(rdata.tests.__file__).parent / "data" / "generated" / name).read_bytes()


@cache
def frame() -> bytes:
    """A data frame, written by `rdata`."""
    import tempfile

    import pandas as pd
    import rdata

    table = pd.DataFrame(
        {"x": [1.0, 2.5], "n": [1, 2], "s": pd.Series(["a", "b"], dtype=object), "f": pd.Categorical(["u", "v"])}
    )
    with tempfile.TemporaryDirectory() as folder:
        rdata.write_rds(Path(folder) / "frame.rds", table)
        return (Path(folder) / "frame.rds").read_bytes()


@cache
def workspace() -> bytes:
    """Written by `pyreadr`, with the library librdata."""
    import tempfile

    import pandas as pd
    import pyreadr

    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "w.RData")
        pyreadr.write_rdata(place, pd.DataFrame({"x": [1.0, 2.5], "s": ["a", "b"]}), df_name="frame", compress="gzip")
        return Path(place).read_bytes()


def formula() -> bytes:
    """What a linear model remembers: its call and a formula with an environment."""
    made = number(6) + symbol("lm") + number(2 | TAGGED) + symbol("formula") + call("~", symbol("y"), symbol("x"))
    return HEAD + values(numbers(1.0, 2.0), made + number(NIL), environment(y=numbers(1, 2, 3)))


RDATA = ("rdata",)
SAMPLES = (
    Sample("rdata/frame", "rdata", written("m.rds", frame), ("safe",), honest=True, needs=RDATA),
    Sample("rdata/workspace", "rdata", written("m.RData", workspace), ("safe",), honest=True, needs=("pyreadr",)),
    *(
        Sample(
            f"rdata/{name.removeprefix('test_').removesuffix('.' + name.rpartition('.')[2])}-{name.rpartition('.')[2]}",
            "rdata",
            written(name, lambda name=name: of_r(name)),
            ("safe",),
            honest=True,
            needs=RDATA,
        )
        for name in (
            "test_dataframe__xdr__version_3.rda",
            "test_dataframe__ascii__version_2.rds",
            "test_s4__xdr__version_3.rds",
            "test_altrep_compact_intseq__binary__version_3.rds",
            "test_emptyenv__ascii__version_3.rda",
        )
    ),
    Sample(
        "rdata/function",
        "rdata",
        written("m.rds", lambda: of_r("test_function__xdr__version_3.rds")),
        ("review",),
        rule="rdata.code",
        needs=RDATA,
        trick="A function with byte code, as R writes it.",
    ),
    Sample("rdata/formula", "rdata", written("m.rds", formula), ("safe",)),
    Sample(
        "rdata/promise",
        "rdata",
        written("m.rds", lambda: HEAD + promise(RUNS)),
        ("danger",),
        rule="rdata.promise",
        trick="A promise: R runs its expression as soon as the value is touched (CVE-2024-27322).",
    ),
    Sample(
        "rdata/promise-variable",
        "rdata",
        written("m.RData", lambda: gzip.compress(image(model=promise(call("f"))))),
        ("danger",),
        rule="rdata.promise",
        trick="A variable whose value runs a function of the attacker's choice.",
    ),
    Sample(
        "rdata/promise-deep",
        "rdata",
        written("m.rds", lambda: lzma.compress(HEAD + values(numbers(1), values(promise(call("f", texts("x"))))))),
        ("danger",),
        rule="rdata.promise",
        trick="The promise lies in a list in a list, in a file packed with xz.",
    ),
    Sample(
        "rdata/promise-with-a-value",
        "rdata",
        written("m.rds", lambda: HEAD + number(5) + numbers(1) + RUNS),
        ("review",),
        trick="A promise that has its value: R does not run its expression any more.",
    ),
    Sample(
        "rdata/closure",
        "rdata",
        written("m.rds", lambda: bz2.compress(HEAD + closure(RUNS))),
        ("danger",),
        rule="rdata.harmful",
        trick="A function that runs a program.",
    ),
    Sample(
        "rdata/by-name",
        "rdata",
        written("m.rds", lambda: HEAD + closure(call("do.call", texts("system"), texts("x")))),
        ("danger",),
        rule="rdata.harmful",
        trick="The function to call stands there as a text.",
    ),
    Sample(
        "rdata/qualified",
        "rdata",
        written("m.rds", lambda: HEAD + closure(call(call("::", symbol("base"), symbol("system")), texts("x")))),
        ("danger",),
        rule="rdata.harmful",
        trick="The function is named with its package.",
    ),
    Sample(
        "rdata/native-order",
        "rdata",
        written(
            "m.rds",
            lambda: (
                b"B\n"
                + b"".join(struct.pack("<i", v) for v in (2, 0x40301, 0x20300, 5, 252, 6, 1, 0x40009, 6))
                + b"system"
                + struct.pack("<i", 254)
            ),
        ),
        ("danger",),
        rule="rdata.promise",
        trick="A promise in R's native format.",
    ),
    Sample(
        "rdata/ascii",
        "rdata",
        written("m.rds", lambda: b"A\n2\n262913\n131840\n5\n252\n6\n1\n262153\n6\nsyst\\145m\n254\n"),
        ("danger",),
        rule="rdata.promise",
        trick="A promise in R's text format, the name with an escape.",
    ),
    Sample(
        "rdata/first",
        "rdata",
        written("m.RData", lambda: image(**{".First": closure(call("f"))})),
        ("danger",),
        rule="rdata.hook",
        trick="R runs .First when it starts in the folder of this file.",
    ),
    Sample(
        "rdata/masks",
        "rdata",
        written("m.RData", lambda: image(predict=closure(call("f")))),
        ("danger",),
        rule="rdata.masks",
        trick="A function in the place of R's own.",
    ),
    Sample(
        "rdata/maps-a-file",
        "rdata",
        written("m.rds", lambda: HEAD + alternative("mmap_real", "base", pairs(texts("/etc/passwd"), numbers(1, 1)))),
        ("danger",),
        rule="rdata.file",
        trick="A vector that is another file of the machine.",
    ),
    Sample(
        "rdata/endless-sequence",
        "rdata",
        written("m.rds", lambda: HEAD + alternative("compact_intseq", "base", numbers(1e18, 1, 1))),
        ("unverifiable",),
        rule="rdata.sequence",
        trick="A sequence that takes all memory once it is written out.",
    ),
    Sample(
        "rdata/package",
        "rdata",
        written("m.rds", lambda: HEAD + number(249) + number(0) + number(1) + chars("evil")),
        ("review",),
        rule="rdata.package",
        trick="Reading it makes R load an installed package.",
    ),
    Sample(
        "rdata/length-lies",
        "rdata",
        written("m.rds", lambda: HEAD + number(14) + number(0x7FFFFFF0) + bytes(80)),
        ("unverifiable",),
        rule="rdata.malformed",
        trick="A vector says a length that leads out of the file.",
    ),
    Sample(
        "rdata/reference-lies",
        "rdata",
        written("m.rds", lambda: HEAD + number(255 | 99 << 8)),
        ("unverifiable",),
        rule="rdata.malformed",
        trick="It refers to an item that is not there.",
    ),
    Sample(
        "rdata/depth",
        "rdata",
        written("m.rds", lambda: HEAD + (number(19) + number(1)) * 200_000 + number(NIL)),
        ("unverifiable",),
        rule="rdata.malformed",
        trick="Lists in lists, two hundred thousand deep.",
    ),
    Sample(
        "rdata/behind",
        "rdata",
        written("m.rds", lambda: HEAD + numbers(1) + RUNS),
        ("unverifiable",),
        rule="rdata.malformed",
        trick="Something follows the end.",
    ),
    Sample(
        "rdata/promise-then-broken",
        "rdata",
        written("m.rds", lambda: HEAD + values(promise(RUNS), number(77))),
        ("danger",),
        rule="rdata.promise",
        trick="The promise stands before the place where the file breaks off.",
    ),
    Sample(
        "rdata/byte-code-only",
        "rdata",
        written(
            "m.rds",
            lambda: (
                HEAD
                + closure(
                    number(21)
                    + number(1)
                    + number(13)
                    + number(2)
                    + number(12)
                    + number(1)
                    + number(3)
                    + number(14)
                    + numbers(1)
                    + number(1)
                    + symbol("system")
                    + number(16)
                    + texts("x")
                )
            ),
        ),
        ("danger",),
        rule="rdata.harmful",
        trick="The source of the byte code is a number; the byte code names system.",
    ),
)
