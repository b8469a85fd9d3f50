"""TensorFlow Lite models put together with the flatbuffers library, harmful ones that no converter would write.

model = lite(custom="FlexWriteFile", options=flex("WriteFile"))
"""

from __future__ import annotations

from typing import Any

from tf_forge import node


def lite(**changes: Any) -> bytes:
    """A TensorFlow Lite model of one operation; `changes` are the numbers that are other than they should be."""
    import flatbuffers

    wanted = {
        "custom": None,
        "input": 0,
        "buffer": 1,
        "size": 16,
        "opcode": 0,
        "options": b"",
        "runs": None,
        "apart": 0,
        "kind": 0,
        "content": None,
        **changes,
    }
    b = flatbuffers.Builder(256)

    def vector(items: list[int], put: Any = None) -> int:
        b.StartVector(4, len(items), 4)
        for item in reversed(items):
            (put or b.PrependInt32)(item)
        return int(b.EndVector())

    def tables(items: list[int]) -> int:
        return vector(items, b.PrependUOffsetTRelative)

    def table(slots: dict[int, tuple[str, int]], count: int) -> int:
        b.StartObject(count)
        for slot, (kind, value) in slots.items():
            getattr(b, f"Prepend{kind}Slot")(slot, value, 0)
        return int(b.EndObject())

    ref = "UOffsetTRelative"
    name = b.CreateString(wanted["custom"]) if wanted["custom"] else None
    number = 32 if name else 119 if wanted["runs"] is not None else 9
    code = {0: ("Int8", number), 3: ("Int32", number)}
    codes = tables([table({**code, **({1: (ref, name)} if name else {})}, 4)])
    data = b.CreateByteVector(bytes(wanted["size"]) if wanted["content"] is None else wanted["content"])
    buffers = tables([table({}, 3), table({0: (ref, data)}, 3)])
    shape = vector([4])
    called = b.CreateString("w")
    tensor = table(
        {0: (ref, shape), 1: ("Int8", wanted["kind"]), 2: ("Uint32", wanted["buffer"]), 3: (ref, called)}, 11
    )
    tensors = tables([tensor])
    ends = vector([0])
    inputs = vector([wanted["input"]])
    options = b.CreateByteVector(wanted["options"])
    operator = {0: ("Uint32", wanted["opcode"]), 1: (ref, inputs), 2: (ref, ends), 5: (ref, options)}
    if wanted["apart"]:
        operator |= {9: ("Uint64", wanted["apart"]), 10: ("Uint64", 64)}
    if wanted["runs"] is not None:  # a While operation
        operator |= {3: ("Uint8", 93), 4: (ref, table({0: ("Int32", wanted["runs"]), 1: ("Int32", wanted["runs"])}, 2))}
    operators = tables([table(operator, 14)])
    subgraphs = tables([table({0: (ref, tensors), 1: (ref, ends), 2: (ref, ends), 3: (ref, operators)}, 6)])
    b.Finish(table({0: ("Uint32", 3), 1: (ref, codes), 2: (ref, subgraphs), 4: (ref, buffers)}, 10), b"TFL3")
    return bytes(b.Output())


def flex(op: str, called: str | None = None) -> bytes:
    """The options of a Flex operation: a FlexBuffer of its name and its definition."""
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Vector():
        builder.String(called or op)
        builder.String(node("n", op).decode("latin-1"))
    return bytes(builder.Finish())
