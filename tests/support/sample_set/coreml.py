"""Core ML: packages and models of coremltools, and the same with classes, files and numbers that do not belong."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

from graph_writers import below, coreml, placed

from sample_set import Sample, written

NEEDS = ("coremltools",)
MODEL, WEIGHTS = "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"


def package() -> dict[str, bytes]:
    return below(coreml(), "honest.mlpackage")


def with_model(name: str) -> Callable[[], dict[str, bytes]]:
    return lambda: {**package(), MODEL: coreml()[f"{name}.mlmodel"]}


def with_weights(change: Callable[[bytes], bytes]) -> Callable[[], dict[str, bytes]]:
    return lambda: {**package(), WEIGHTS: change(package()[WEIGHTS])}


def with_path(path: object) -> Callable[[], dict[str, bytes]]:
    def files() -> dict[str, bytes]:
        manifest = json.loads(package()["Manifest.json"])
        next(iter(manifest["itemInfoEntries"].values()))["path"] = path
        return {**package(), "Manifest.json": json.dumps(manifest).encode()}

    return files


def model(name: str) -> Callable[[Path], Path]:
    return written("m.mlmodel", lambda: coreml()[f"{name}.mlmodel"])


def replaced(at: int, new: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + new + data[at + len(new) :]


def both() -> bytes:
    """Field 7, which no model has, holds the head of a file of weights; a second one, behind the model, its records."""
    count, pieces = b"\x3a\x7e\0\0", 0x7E3A  # the field's mark and length, and the number of pieces
    model = coreml()["custom_model.mlmodel"]
    start = 128 + len(model) + 5
    records, at = bytes(-start % 64), -(-start // 64) * 64
    for _ in range(pieces - 1):
        at += 64
        records += struct.pack("<IIQQ40x", 0xDEADBEEF, 3, 0, at)
    length = bytes([len(records) >> shift & 127 | 128 for shift in (0, 7, 14)]) + bytes([len(records) >> 21])
    first = struct.pack("<IIQQ40x", 0xDEADBEEF, 3, len(model) + 5, 128)
    return count + struct.pack("<I", 2) + bytes(56) + first + model + b"\x3a" + length + records


def without_entries() -> dict[str, bytes]:
    return {**package(), "Manifest.json": b'{"fileFormatVersion": "1.0.0", "itemInfoEntries": []}'}


SAMPLES = (
    Sample("coreml/package", "coreml", placed(package), ("safe",), honest=True, needs=NEEDS),
    Sample("coreml/model-of-a-package", "coreml", placed(package, MODEL), ("safe",), honest=True, needs=NEEDS),
    Sample("coreml/neural-network", "coreml", model("network"), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "coreml/outside", "coreml", placed(with_model("outside")), ("danger",), rule="coreml.outside-path", needs=NEEDS,
        trick="Its numbers come from a file above the package.",
    ),
    Sample(
        "coreml/absolute", "coreml", model("absolute"), ("danger",), rule="coreml.outside-path", needs=NEEDS,
        trick="Its numbers come from a file by its absolute path.",
    ),
    Sample(
        "coreml/beyond", "coreml", placed(with_model("beyond")), ("unverifiable",), rule="data.cut-off", needs=NEEDS,
        trick="A number lies far behind the end of the weights.",
    ),
    Sample(
        "coreml/foreign-operation", "coreml", placed(with_model("foreign")), ("review",), rule="coreml.operation",
        needs=NEEDS, trick="An operation that Core ML does not have.",
    ),
    Sample(
        "coreml/custom-layer", "coreml", model("custom_layer"), ("review",), rule="coreml.custom-class", needs=NEEDS,
        trick="A layer is a class of the app.",
    ),
    Sample(
        "coreml/custom-layer-in-a-loop", "coreml", model("in_loop"), ("review",), rule="coreml.custom-class",
        needs=NEEDS, trick="The same, in a loop within the network.",
    ),
    Sample(
        "coreml/custom-model", "coreml", model("custom_model"), ("review",), rule="coreml.custom-class", needs=NEEDS,
        trick="The model is a class of the app.",
    ),
    Sample(
        "coreml/custom-model-in-a-pipeline", "coreml", model("pipeline"), ("review",), rule="coreml.custom-class",
        needs=NEEDS, trick="The same, in a pipeline.",
    ),
    Sample(
        "coreml/linked", "coreml", model("linked"), ("review",), rule="coreml.linked-model", needs=NEEDS,
        trick="It only names another model.",
    ),
    Sample(
        "coreml/linked-outside", "coreml", model("linked_outside"), ("danger",), rule="coreml.linked-model",
        needs=NEEDS, trick="It names another model and places outside of its folder to look for it.",
    ),
    Sample(
        "coreml/tagger", "coreml", model("tagger"), ("unverifiable",), rule="coreml.opaque", needs=NEEDS,
        trick="A kind of model that only Apple's libraries read.",
    ),
    Sample(
        "coreml/cut-off", "coreml", written("m.mlmodel", lambda: coreml()["network.mlmodel"][:-9]), ("unverifiable",),
        needs=NEEDS, trick="It is cut off.",
    ),
    Sample(
        "coreml/both", "coreml", written("m.mlmodel", both), ("unverifiable",), rule="coreml.malformed", needs=NEEDS,
        trick="A model behind a field that readers pass over, and that makes weights of the whole for whoever looks.",
    ),
    Sample(
        "coreml/unknown-field", "coreml",
        written("m.mlmodel", lambda: coreml()["network.mlmodel"] + b"\xfa\xff\x01\x03abc"), ("unverifiable",),
        needs=NEEDS, trick="A field that the schema does not have.",
    ),
    Sample(
        "coreml/weights", "coreml-weights", written("weight.bin", lambda: package()[WEIGHTS]), ("safe",), honest=True,
        needs=NEEDS,
    ),
    Sample(
        "coreml/weights-too-long", "coreml-weights", placed(with_weights(replaced(72, b"\xff" * 7))), ("unverifiable",),
        rule="coreml.weights", needs=NEEDS, trick="A piece of the weights is longer than the file.",
    ),
    Sample(
        "coreml/weights-elsewhere", "coreml-weights", placed(with_weights(replaced(80, b"\x00"))), ("unverifiable",),
        rule="coreml.weights", needs=NEEDS, trick="A piece of the weights lies over the header.",
    ),
    Sample(
        "coreml/weights-and-more", "coreml-weights", placed(with_weights(lambda data: data + b"x" * 200)),
        ("unverifiable",), rule="coreml.weights", needs=NEEDS, trick="Something lies behind the last piece.",
    ),
    Sample(
        "coreml/manifest", "coreml-manifest", written("Manifest.json", lambda: package()["Manifest.json"]), ("safe",),
        honest=True, needs=NEEDS,
    ),
    Sample(
        "coreml/manifest-outside", "coreml-manifest", placed(with_path("../../../model.mlmodel")), ("danger",),
        rule="coreml.outside-path", needs=NEEDS, trick="The package lists a file above it.",
    ),
    Sample(
        "coreml/manifest-without-a-path", "coreml-manifest", placed(with_path(7)), ("unverifiable",), needs=NEEDS,
        trick="The package lists a file whose path is a number.",
    ),
    Sample(
        "coreml/manifest-without-entries", "coreml-manifest", placed(without_entries), ("unverifiable",), needs=NEEDS,
        trick="The package lists its files in another form.",
    ),
    Sample(
        "coreml/compiled", "coreml-compiled", placed(lambda: {"m.mlmodelc/coremldata.bin": b"\x00\x01\x02compiled"}),
        ("unverifiable",), rule="format.unread", trick="A compiled model, which nobody can read.",
    ),
    Sample(
        "coreml/compiled-beside-a-model", "coreml-compiled",
        placed(lambda: {**package(), "m.mlmodelc/coremldata.bin": b"\x08\x01compiled"}), ("unverifiable",),
        rule="format.unread", needs=NEEDS, trick="A compiled model in the folder of an honest one.",
    ),
)  # fmt: skip
