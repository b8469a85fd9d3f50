"""TensorFlow graphs and SavedModels put together by hand, harmful ones that TensorFlow's own writer would not write.

model = saved_model([node("x", "WriteFile", "path", "text")], functions={"f": (["arg"], [node(...)])})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

STRING, FLOAT, INT32 = 7, 1, 3


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number: int, value: bytes | str | int) -> bytes:
    """One field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def entry(number: int, key: str, value: bytes) -> bytes:
    """One entry of a map."""
    return field(number, field(1, key) + field(2, value))


def node(name: str, op: str, *inputs: str, functions: Iterable[str] = (), **texts: str) -> bytes:
    """A `NodeDef`: its text attributes, and functions that it calls in the attributes `f0`, `f1`, …"""
    out = field(1, name) + field(2, op) + b"".join(field(3, i) for i in inputs)
    out += b"".join(entry(5, key, field(2, value)) for key, value in texts.items())
    return out + b"".join(entry(5, f"f{i}", field(10, field(1, called))) for i, called in enumerate(functions))


def constant(name: str, value: str | int) -> bytes:
    """A constant of one text, or of one number."""
    kind = STRING if isinstance(value, str) else INT32
    tensor = field(1, kind) + field(8 if isinstance(value, str) else 7, value)
    return field(1, name) + field(2, "Const") + entry(5, "value", field(8, tensor))


Functions = Mapping[str, tuple[Sequence[str], Sequence[bytes]]]
"""Name → (arguments, nodes)."""


def graph(nodes: Iterable[bytes], functions: Functions | None = None) -> bytes:
    """A `GraphDef`."""
    library = b"".join(
        field(1, field(1, field(1, name) + b"".join(field(2, field(1, a)) for a in arguments)) + _body(body))
        for name, (arguments, body) in (functions or {}).items()
    )
    return b"".join(field(1, n) for n in nodes) + (field(2, library) if library else b"")


def _body(nodes: Sequence[bytes]) -> bytes:
    return b"".join(field(3, n) for n in nodes)


def saved_model(
    nodes: Iterable[bytes],
    functions: Functions | None = None,
    assets: Mapping[str, str] | None = None,
    objects: Iterable[tuple[str, str]] = (),
    constants: Iterable[str] = (),
    bound: Mapping[str, Sequence[int]] | None = None,
) -> bytes:
    """A `SavedModel`: the objects are (identifier, metadata), then one for each of the constants."""
    meta = field(2, graph(nodes, functions))
    for tensor, file in (assets or {}).items():
        meta += field(6, field(1, field(1, f"{tensor}:0")) + field(2, file))
    saved = b"".join(field(1, field(4, field(1, i) + field(3, m))) for i, m in objects)
    saved += b"".join(field(1, field(9, field(1, name))) for name in constants)
    for name, numbers in (bound or {}).items():
        saved += entry(2, name, field(2, b"".join(map(varint, numbers))))
    return field(1, 1) + field(2, meta + field(7, saved))
