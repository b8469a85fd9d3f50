"""PaddlePaddle's programs: `.pdmodel` (Protocol Buffers) and the JSON of version 3, by what their operators are called.

    program = read_proto(view)              # or read_json(data)
    program.operators, program.settings

Sources: `paddle/fluid/framework/framework.proto`; `paddle/fluid/pir/serialize_deserialize/include/schema.h`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats.protobuf import BYTES, Budget, WireError, fields
from nbguard.formats.protobuf_walk import messages, one, schema, text
from nbguard.formats.view import View

SCHEMA = schema("""
ProgramDesc 1:BlockDesc* 4:Version 5:OpVersionMap; Version 1:v; OpVersionMap 1:OpVersionMap.OpVersionPair*;
OpVersionMap.OpVersionPair 1:b 2:OpVersion; OpVersion 1:v; BlockDesc 1:v 2:v 3:VarDesc* 4:OpDesc* 5:v;
OpDesc 3:b 1:OpDesc.Var* 2:OpDesc.Var* 4:OpDesc.Attr* 5:v; OpDesc.Var 1:b 2:b*;
OpDesc.Attr 1:b 2:v 3:v 4:f 5:b 6:v* 7:f* 8:b* 10:v 11:v* 12:v 13:v 14:v* 15:v* 16:d* 17:b 18:b* 19:d 20:Scalar
21:Scalar*; Scalar 1:v 2:v 3:v 4:d 5:Complex; Complex 1:d 2:d; VarDesc 1:b 2:VarType 3:v 4:v 5:v 6:v 7:VarDesc.Attr*;
VarDesc.Attr 1:b 2:v 3:v 4:b 5:v*; VarType 1:v 2:VarType.TensorDesc 3:VarType.DenseTensorDesc
4:VarType.DenseTensorArrayDesc 5:VarType.ReaderDesc 7:VarType.Tuple 8:VarType.TensorDesc 9:VarType.TensorDesc
10:VarType.TensorDesc 11:VarType.TensorDesc 12:VarType.TensorDesc; VarType.TensorDesc 1:v 2:v*;
VarType.DenseTensorDesc 1:VarType.TensorDesc 2:v; VarType.DenseTensorArrayDesc 1:VarType.TensorDesc 2:v;
VarType.ReaderDesc 1:VarType.DenseTensorDesc*; VarType.Tuple 1:v*
""")
MAX_KEPT = 100_000
_BEGINS = re.compile(rb'\s*\{\s*"(?:base_code|program)"\s*:\s*\{')
_DIALECTS = {"0": "builtin", "1": "pd_op", "2": "cf", "3": "custom_op", "4": "dist_op"}
"""`DialectIdMap` of `schema.cc`."""


class PaddleError(WireError):
    """No program that can be read to its end. One plain sentence."""


@dataclass
class PaddleProgram:
    """What is in a program."""

    operators: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(dialect, operator) → how often; the dialect of a `.pdmodel` is `pd_op`."""
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    """(operator, attribute, text) of attributes that are texts, of the operators that `wanted` named."""
    problems: list[str] = field(default_factory=list)

    def keep(self, operator: str, name: str, value: str) -> None:
        if len(self.settings) < MAX_KEPT:
            self.settings.append((operator[:100], name[:100], value[:300]))


def looks_like_proto(view: View) -> bool:
    """Whether the fields on top are those of a `ProgramDesc` whose first block has variables or operators."""
    known = SCHEMA["ProgramDesc"]
    blocks = []
    try:
        for found in fields(view, 0, view.size, Budget(10_000)):
            if found.number not in known or found.wire != BYTES:
                return False
            if found.number == 1:
                blocks.append(found)
        if not blocks:
            return False
        inside = one(view, SCHEMA, "BlockDesc", blocks[0], Budget(200_000))
    except WireError:
        return False
    return inside.first(1) is not None and inside.first(2) is not None


def looks_like_json(head: bytes) -> bool:
    """Whether it begins as a program of version 3 does."""
    return _BEGINS.match(head) is not None and b'"magic"' in head and b'"pir"' in head


def read_proto(view: View, wanted: frozenset[str]) -> PaddleProgram:
    """Walk the whole program.

    Args:
        wanted: operators whose texts are kept.

    Raises:
        PaddleError: it breaks off, or holds a field that PaddlePaddle does not define.
    """
    program = PaddleProgram()
    blocks: list[tuple[int, int]] = []
    try:
        for message in messages(view, SCHEMA, "ProgramDesc", 0, view.size):
            if message.name == "BlockDesc":
                blocks.append((message.number(1), message.number(2) & 0xFFFF_FFFF))
            elif message.name == "OpDesc":
                kind = text(view, message.first(3))
                program.operators[("pd_op", kind[:200])] += 1
                for attribute in message.all(4) if kind in wanted else ():
                    found = one(view, SCHEMA, "OpDesc.Attr", attribute)
                    for value in (*found.all(5), *found.all(8)):
                        program.keep(kind, text(view, found.first(1)), text(view, value))
            if len(program.operators) > MAX_KEPT:
                raise PaddleError("It names more operators than there are.")
    except PaddleError:
        raise
    except WireError as error:
        raise PaddleError(str(error)) from error
    if any(idx != number for number, (idx, _) in enumerate(blocks)):
        program.problems.append("Its blocks are not numbered as they come.")
    if any(parent != 0xFFFF_FFFF and not parent < max(1, number) for number, (_, parent) in enumerate(blocks)):
        program.problems.append("A block of it lies in one that is not there.")
    return program


def read_json(data: bytes, wanted: frozenset[str]) -> PaddleProgram:
    """Walk a program of version 3. Raises PaddleError."""
    try:
        value = json.loads(data, object_pairs_hook=_unique)
    except PaddleError:
        raise
    except (ValueError, RecursionError) as error:
        raise PaddleError("It is no JSON that can be read to its end.") from error
    about = value.get("base_code") if isinstance(value, dict) else None
    if not isinstance(about, dict) or about.get("magic") != "pir" or not isinstance(value.get("program"), dict):
        raise PaddleError("It is no program of PaddlePaddle.")
    program = PaddleProgram()
    left: list[Any] = [value["program"]]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += [i for i in item if isinstance(i, (dict, list))]
        elif isinstance(item, dict):
            for op in item["ops"] if isinstance(item.get("ops"), list) else ():
                _operator(program, op, wanted)
            left += [i for i in item.values() if isinstance(i, (dict, list))]
    if not program.operators:
        raise PaddleError("There is no operator in it.")
    return program


def _operator(program: PaddleProgram, op: Any, wanted: frozenset[str]) -> None:
    name = op.get("#") if isinstance(op, dict) else None
    if not isinstance(name, str):
        raise PaddleError("An operator of it has no name.")
    dialect, _, kind = name.rpartition(".")
    program.operators[(_DIALECTS.get(dialect, dialect or "builtin")[:60], kind[:200])] += 1
    if len(program.operators) > MAX_KEPT:
        raise PaddleError("It names more operators than there are.")
    attributes = op.get("A")
    for entry in attributes if kind.rstrip("_") in wanted and isinstance(attributes, list) else ():
        inside = entry.get("AT") if isinstance(entry, dict) else None
        if isinstance(inside, dict):
            texts = inside["D"] if isinstance(inside.get("D"), list) else [inside.get("D")]
            for one_text in texts[:100]:
                if isinstance(one_text, str):
                    program.keep(kind, str(entry.get("N", "")), one_text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise PaddleError("A name is there twice in one object of the document.")
    return out


__all__ = ["SCHEMA", "PaddleError", "PaddleProgram", "looks_like_json", "looks_like_proto", "read_json", "read_proto"]
