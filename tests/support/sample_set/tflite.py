"""TensorFlow Lite: what its converter writes, and numbers that lead out of the model."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from lite_forge import flex, lite

from sample_set import Sample, written
from sample_set.tensorflow import tensorflow

NEEDS = ("flatbuffers",)
CONVERTER = ("tensorflow",)


@cache
def converted(small: bool = False, labels: bool = False) -> bytes:
    """A loop, a choice, texts and weights; quantised where `small` is set."""
    tf = tensorflow()

    @tf.function(input_signature=[tf.TensorSpec([4, 64], tf.float32)])
    def run(x: Any) -> Any:
        n = tf.constant(0)
        x = x @ tf.reshape(tf.range(64 * 64, dtype=tf.float32), [64, 64])
        _, x = tf.while_loop(lambda n, _: n < 10, lambda n, x: (n + 1, x * 2), (n, x))
        chosen = tf.cond(tf.reduce_sum(x) > 0, lambda: x + 1, lambda: x - 1)
        return chosen, tf.constant(["a", "bc"])

    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()])
    if small:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    data = bytes(converter.convert())
    if labels:  # as the writer of metadata packs a file with it
        stream = BytesIO(data)
        with zipfile.ZipFile(stream, "a") as packed:
            packed.writestr("labels.txt", "cat\ndog\n")
        data = stream.getvalue()
    return data


def texts(count: int, *places: int) -> bytes:
    return struct.pack(f"<{1 + len(places)}i", count, *places) + b"abc"


BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "input-outside": ("An operation takes a tensor that is not there.", {"input": 7}),
    "input-below": ("An operation takes a tensor before the first one.", {"input": -2}),
    "buffer-outside": ("A tensor lies in a buffer that is not there.", {"buffer": 9}),
    "size-lies": ("A tensor's data is shorter than its shape says.", {"size": 12}),
    "operation-outside": ("An operation is of a kind that is not there.", {"opcode": 3}),
    "subgraph-outside": ("A loop runs a subgraph that is not there.", {"runs": 5}),
    "subgraph-below": ("A loop runs a subgraph before the first one.", {"runs": -1}),
    "subgraph-runs-itself": ("A loop runs the subgraph that it is in (CVE-2021-29591).", {"runs": 0}),
    "options-behind-the-file": ("An operation's options lie behind the end of the file.", {"apart": 1 << 40}),
    "texts-outside": ("A text begins behind its tensor's data.", {"kind": 5, "content": texts(1, 12, 4096)}),
    "texts-backwards": ("A text ends before it begins.", {"kind": 5, "content": texts(2, 16, 19, 17)}),
    "texts-too-many": ("A tensor claims more texts than it has room for.", {"kind": 5, "content": texts(1 << 30, 12)}),
    "texts-below-nothing": ("A tensor claims fewer texts than none.", {"kind": 5, "content": texts(-1, 12)}),
    "unknown-type": ("A tensor is of a type that there is not.", {"kind": 99}),
}
FLEX: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {
    "flex-writes": (
        "danger", "tensorflow.operation", "An operation of TensorFlow writes a file.",
        lambda: lite(custom="FlexWriteFile", options=flex("WriteFile")),
    ),
    "flex-under-another-name": (
        "danger", "tensorflow.operation", "An operation says that it is a harmless one, and its definition says more.",
        lambda: lite(custom="FlexRelu", options=flex("WriteFile", "Relu")),
    ),
    "flex-reads": (
        "review", "tflite.flex", "An operation of TensorFlow reads a file.",
        lambda: lite(custom="FlexReadFile", options=flex("ReadFile")),
    ),
    "flex-without-a-definition": (
        "unverifiable", "tflite.flex", "An operation of TensorFlow does not say which.",
        lambda: lite(custom="FlexRelu", options=b"?"),
    ),
    "custom-operation": (
        "review", "tflite.custom-operation", "An operation of a library.", lambda: lite(custom="RunShell"),
    ),
    "cut-off": ("unverifiable", "tflite.malformed", "The file breaks off.", lambda: lite()[:-40]),
    "root-outside": (
        "unverifiable", "tflite.malformed", "The first offset leads out of the file.",
        lambda: b"\xff\xff\xff\x7f" + lite()[4:],
    ),
    "table-before-the-file": (
        "unverifiable", "tflite.malformed", "A table's description lies before the file.",
        lambda: (lambda d, at: d[:at] + struct.pack("<i", 1 << 30) + d[at + 4 :])(
            lite(), int.from_bytes(lite()[:4], "little")
        ),
    ),
}  # fmt: skip


def refused(path: Path) -> None:
    """The runtime refuses it, where it looks."""
    tf = tensorflow()
    try:
        tf.lite.Interpreter(model_path=str(path)).allocate_tensors()
    except (ValueError, RuntimeError):
        return
    raise AssertionError("the runtime takes it")


LOOKED_AT = ("input-outside", "input-below", "buffer-outside", "size-lies", "operation-outside", "subgraph-outside")
SAMPLES = (
    Sample("tflite/honest", "tflite", written("m.tflite", converted), ("safe",), honest=True, needs=CONVERTER),
    Sample(
        "tflite/quantised", "tflite", written("m.tflite", lambda: converted(small=True)), ("safe",), honest=True,
        needs=CONVERTER,
    ),
    Sample(
        "tflite/with-labels", "tflite", written("m.tflite", lambda: converted(labels=True)), ("safe",), honest=True,
        needs=CONVERTER,
    ),
    *(
        Sample(
            f"tflite/{name}", "tflite", written("m.tflite", lambda changes=changes: lite(**changes)), ("unverifiable",),
            rule="tflite.bounds", trick=trick, needs=(*NEEDS, "tensorflow") if name in LOOKED_AT else NEEDS,
            loads=refused if name in LOOKED_AT else None,
        )
        for name, (trick, changes) in BROKEN.items()
    ),
    *(
        Sample(f"tflite/{name}", "tflite", written("m.tflite", make), (verdict,), rule=rule, trick=trick, needs=NEEDS)
        for name, (verdict, rule, trick, make) in FLEX.items()
    ),
)  # fmt: skip
