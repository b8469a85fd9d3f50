"""MXNet: parameters and a symbol that MXNet 1.9.1 wrote, and the same with numbers and operators that do not belong.

MXNet is not installed beside the tests: it needs NumPy 1. Its files are here as they were, packed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_set import Sample, written

_PARAMETERS = (
    b"c-j+UWIzEdQ2OMr$v>HZG)S5WD#nDyW`N4W02`FgjK*hzt7xzX5)KS#da;=Wa|292x>{o0f@&t%ez@5%J*-&m2dPEHFg^I}2J>wo"
    b"5Ehm&^An5Gt&)*BMQ~1Og;fg7hztPWwi+q"
)
_SYMBOL = (
    b"c-pm7%Wi`(5WMFrET1_*^QhWeRjJn=azw~-@FrLS8<`~!A^yE<LP#P(l~%2UEHg7ZvtC0pV~iWCpyIDArWeMVZY9{3gmF{nIS<$c"
    b"G_n8>D~a+3)~2kn^GG_V?WxDiwy8LP-eq{hNkr!j8!9S9rj-KYwR7J7VeCfB>YqYCDD?Dhje!(FjmG~zISvEnpCn*$blpDn+ix3t"
    b"OHuD7YHLQCk^>ozc1OIxQ`u=9<n=^*^G6z)xR%Opv5-fR%MIi||Hjtm^3NJcK5aj0951f3T;3mn)}$-p((T0X%aDZTPjg@PtY?I?"
    b"2T`KC6VOP=om^J|d+x;<NOcZgUDEoDVc^Bl0E#`h%3l~ssa=1pD0~T{q@A^2C^G6g"
)


def parameters() -> bytes:
    """A CSR array, one by rows, five ones, and four halves."""
    return zlib.decompress(base64.b85decode(_PARAMETERS))


def symbol() -> bytes:
    """A layer, its activation, and a softmax."""
    return zlib.decompress(base64.b85decode(_SYMBOL))


def changed(at: int, value: bytes) -> Callable[[Path], Path]:
    return written("m.params", lambda: parameters()[:at] + value + parameters()[at + len(value) :])


def with_node(
    operator: str, name: str = "m-symbol.json", *, inside: bool = False, **settings: str
) -> Callable[[Path], Path]:
    def data() -> bytes:
        document = json.loads(symbol())
        node: dict[str, Any] = {"op": operator, "name": "own", "attrs": settings, "inputs": [[0, 0, 0]]}
        if inside:
            inner = {"nodes": [{"op": "null", "name": "x", "inputs": []}, node], "arg_nodes": [0], "heads": [[1, 0, 0]]}
            node = {"op": "_foreach", "name": "loop", "inputs": [[0, 0, 0]], "subgraphs": [inner]}
        document["nodes"].append(node)
        return json.dumps(document).encode()

    return written(name, data)


SAMPLES = (
    Sample("mxnet/parameters", "mxnet-params", written("m.params", parameters), ("safe",), honest=True),
    Sample(
        "mxnet/many", "mxnet-params", changed(16, b"\xff" * 7), ("unverifiable",),
        trick="It says that it has more arrays than the file has bytes.",
    ),
    Sample(
        "mxnet/rank", "mxnet-params", changed(32, b"\xff\xff\xff\x7f"), ("unverifiable",),
        trick="An array has two thousand million dimensions.",
    ),
    Sample(
        "mxnet/shape", "mxnet-params", changed(56, b"\xff" * 8), ("unverifiable",),
        trick="An array is as long as no memory.",
    ),
    Sample(
        "mxnet/behind", "mxnet-params", written("m.params", lambda: parameters() + b"more"), ("unverifiable",),
        trick="Something lies behind the names.",
    ),
    Sample("mxnet/symbol", "mxnet-symbol", written("m-symbol.json", symbol), ("safe",), honest=True),
    Sample(
        "mxnet/address", "mxnet-symbol", with_node("_Native", info="0x41414141"), ("danger",), rule="mxnet.operator",
        trick="An operator calls what lies at an address.",
    ),
    Sample(
        "mxnet/address-in-a-loop", "mxnet-symbol", with_node("_Native", inside=True, info="0x41414141"), ("danger",),
        rule="mxnet.operator", trick="The same, in the body of a loop.",
    ),
    Sample(
        "mxnet/address-in-a-configuration", "mxnet-symbol", with_node("_Native", "config.json", info="0x41414141"),
        ("danger",), rule="mxnet.operator", trick="The same, in a file that other libraries take for a configuration.",
    ),
    Sample(
        "mxnet/reads", "mxnet-symbol", with_node("_cvimread", filename="/etc/passwd"), ("danger",),
        rule="mxnet.operator", trick="An operator reads a file.",
    ),
    Sample(
        "mxnet/custom", "mxnet-symbol", with_node("Custom", op_type="own"), ("review",), rule="mxnet.operator",
        trick="An operator is a class in Python that the caller registers.",
    ),
    Sample(
        "mxnet/library", "mxnet-symbol", with_node("mine"), ("review",), rule="mxnet.operator",
        trick="An operator of a library.",
    ),
    Sample(
        "mxnet/index", "mxnet-symbol",
        written("m-symbol.json", lambda: symbol().replace(b'"heads": [[4', b'"heads": [[4000').replace(
            b'"arg_nodes": [0', b'"arg_nodes": [9999')), ("unverifiable",), trick="An index leads to no node.",
    ),
)  # fmt: skip
