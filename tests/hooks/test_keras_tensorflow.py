"""Keras and TensorFlow with the guard on: what their own writers wrote loads, what acts does not run."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if sys.platform != "linux" or platform.machine() != "x86_64":
    pytest.skip("TensorFlow is built for this machine under other names", allow_module_level=True)
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from keras import layers
from keras.src.utils.python_utils import func_dump

from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.hooks import walk
from nbguard.report.model import Verdict

pytestmark = pytest.mark.usefixtures("guarded")
X = np.ones((2, 4), "float32")


def sequential() -> Any:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu"), layers.BatchNormalization()])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def functional() -> Any:
    inputs = keras.Input((4,))
    hidden = keras.ops.relu(layers.Dense(3)(inputs) * 2 + 1)
    return keras.Model(inputs, [layers.Concatenate()([hidden, hidden]), keras.ops.mean(hidden, axis=1)])


class Subclass(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def with_lambda(path: Path, function: Callable[..., Any]) -> Path:
    """A model with a Lambda layer whose byte code is that of `function`, by Keras' own writer."""
    plain = path.with_name("plain.keras")
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x)]).save(plain)
    return changed(plain, path, lambda config: planted(config, func_dump(function)[0]))


def planted(node: Any, code: str) -> Any:
    if isinstance(node, dict):
        if node.get("class_name") == "__lambda__":
            node["config"]["code"] = code
        for value in node.values():
            planted(value, code)
    elif isinstance(node, list):
        for value in node:
            planted(value, code)
    return node


def changed(source: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(data))) if name == "config.json" else data)
    return target


def touches(marker: Path) -> Callable[..., Any]:
    """A function whose byte code has the marker's name in it."""
    namespace: dict[str, Any] = {}
    exec(f"f = lambda x: (__import__('os').system('touch {marker}'), x)[1]", namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


# Keras


@pytest.mark.parametrize(("build", "suffix"), [(sequential, ".keras"), (sequential, ".h5"), (functional, ".keras")])
def test_a_model_loads_as_it_was(build: Callable[[], Any], suffix: str, person: Any, tmp_path: Path) -> None:
    model, path = build(), tmp_path / f"model{suffix}"
    model.save(path)
    loaded = keras.models.load_model(path, compile=False)
    assert person.verdicts == ["safe"]
    for mine, theirs in zip(tf.nest.flatten(loaded(X)), tf.nest.flatten(model(X)), strict=True):
        assert np.allclose(mine, theirs)


def test_a_folder_loads_as_it_was(person: Any, tmp_path: Path) -> None:
    model = sequential()
    model.save(tmp_path / "folder", zipped=False)
    assert np.allclose(keras.saving.load_model(tmp_path / "folder")(X), model(X))
    assert person.verdicts == ["safe"]


def test_a_repository_loads_as_it_was(person: Any, hub: Any, tmp_path: Path) -> None:
    model = sequential()
    model.save(tmp_path / "folder", zipped=False)
    files = {p.name: p.read_bytes() for p in (tmp_path / "folder").iterdir() if p.is_file()}
    commit = hub.store.push("demo/keras", {**files, "README.md": b"# A model", "other.bin": b"?"})
    assert np.allclose(keras.saving.load_model("hf://demo/keras")(X), model(X))
    assert person.verdicts == ["safe"]
    assert person.reports[0].artifact.commit == commit
    assert {n.path for n in person.reports[0].not_scanned} == {"README.md", "other.bin"}


def test_weights_load_as_they_were(person: Any, tmp_path: Path) -> None:
    model, again = Subclass(), Subclass()
    model(X), again(X)
    model.save_weights(tmp_path / "m.weights.h5")
    again.load_weights(tmp_path / "m.weights.h5")
    assert np.allclose(model(X), again(X))
    assert person.verdicts == ["safe"]
    keras.saving.load_weights(again, tmp_path / "m.weights.h5")
    assert person.verdicts == ["safe", "safe"]


def test_sharded_weights_load_with_all_their_files(person: Any, tmp_path: Path) -> None:
    model, again = sequential(), sequential()
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-7)
    again.load_weights(tmp_path / "m.weights.json")
    assert np.allclose(model(X), again(X))
    assert person.verdicts == ["safe"]
    assert len(person.reports[0].files) > 2


def test_a_lambda_is_refused_unless_the_call_and_the_answer_say_so(person: Any, tmp_path: Path) -> None:
    path = with_lambda(tmp_path / "model.keras", lambda x: x * 2)
    with pytest.raises(ValueError, match="safe_mode=False"):
        keras.models.load_model(path)
    loaded = keras.models.load_model(path, safe_mode=False)
    assert np.allclose(loaded(X), X * 2)
    assert person.verdicts == ["review", "review"]
    assert "safe_mode=False" in person.reports[1].findings[0].meaning


@pytest.mark.usefixtures("nobody")
def test_a_lambda_is_refused_where_nobody_can_answer(tmp_path: Path) -> None:
    path = with_lambda(tmp_path / "model.keras", lambda x: x * 2)
    with pytest.raises(LoadBlocked, match="Lambda"):
        keras.models.load_model(path, safe_mode=False)


def test_byte_code_that_was_accepted_does_nothing_while_the_model_is_built(
    person: Any, marker: Path, tmp_path: Path
) -> None:
    path = with_lambda(tmp_path / "model.keras", touches(marker))
    with pytest.raises(ContractViolation, match=r"os\.system"):
        keras.models.load_model(path, safe_mode=False)
    assert person.verdicts == ["danger"]
    assert not marker.exists()


def test_byte_code_that_the_scanner_did_not_see_is_not_unmarshalled(
    person: Any, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was accepted is all that runs: the report is that of another file."""
    path = with_lambda(tmp_path / "evil.keras", touches(marker))
    other = with_lambda(tmp_path / "other.keras", lambda x: x * 2)
    honest = walk.scan

    def blind(request: Any, opened: Any) -> Any:
        from nbguard.artifact.sources import open_path

        with open_path(other) as there:
            return honest(request, there)

    monkeypatch.setattr(walk, "scan", blind)
    with pytest.raises(ContractViolation, match="byte code that nobody accepted"):
        keras.models.load_model(path, safe_mode=False)
    assert not marker.exists()


def test_a_name_that_the_scanner_did_not_see_is_not_looked_up(
    person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @keras.saving.register_keras_serializable("mine")
    class Own(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    keras.Sequential([keras.Input((4,)), Own()]).save(tmp_path / "own.keras")
    keras.models.load_model(tmp_path / "own.keras")
    assert person.verdicts == ["review"]
    sequential().save(tmp_path / "plain.keras")
    honest = walk.scan

    def blind(request: Any, opened: Any) -> Any:
        from nbguard.artifact.sources import open_path

        with open_path(tmp_path / "plain.keras") as there:
            return honest(request, there)

    monkeypatch.setattr(walk, "scan", blind)
    with pytest.raises(ContractViolation, match="its configuration named"):
        keras.models.load_model(tmp_path / "own.keras")


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("keras.utils", "get_file")])
def test_a_function_that_is_imported_is_refused(
    module: str, name: str, person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequential().save(tmp_path / "plain.keras")

    def change(config: Any) -> Any:
        function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
        config["config"]["layers"][1]["config"]["activation"] = function
        return config

    path = changed(tmp_path / "plain.keras", tmp_path / "evil.keras", change)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        keras.models.load_model(path)
    assert person.verdicts == ["danger"]


@pytest.mark.usefixtures("nobody")
def test_a_link_into_another_file_is_refused(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = np.ones((4, 3))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/kernel")
    with pytest.raises(LoadBlocked, match="links to another file"):
        model.load_weights(tmp_path / "m.weights.h5")


# TensorFlow


class Module(tf.Module):  # type: ignore[misc]
    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        vocabulary.write_text("a\nb\n")
        self.asset = tf.saved_model.Asset(str(vocabulary))
        lines, line, text = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE, tf.string
        file = tf.lookup.TextFileInitializer(self.asset, text, line, tf.int64, lines)
        self.table = tf.lookup.StaticHashTable(file, -1)
        self.weight = tf.Variable(tf.ones((4, 2)))

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def __call__(self, x: Any) -> Any:
        return tf.nn.relu(x @ self.weight)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
    def look(self, x: Any) -> Any:
        return self.table.lookup(x)


class Acting(tf.Module):  # type: ignore[misc]
    def __init__(self, act: Callable[[Any], Any]) -> None:
        super().__init__()
        self.act = act

    @tf.function(input_signature=[tf.TensorSpec((None, 4))])
    def __call__(self, x: Any) -> Any:
        return self.act(x)


def test_a_saved_model_loads_as_it_was(person: Any, tmp_path: Path) -> None:
    tf.saved_model.save(Module(tmp_path / "vocab.txt"), str(tmp_path / "model"))
    (tmp_path / "vocab.txt").unlink()
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert person.verdicts == ["safe"]
    assert np.allclose(loaded(tf.ones((1, 4))), 4)
    assert loaded.look(tf.constant(["b", "z"])).numpy().tolist() == [1, -1]


def test_what_keras_exports_loads(person: Any, tmp_path: Path) -> None:
    model = sequential()
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    assert np.allclose(loaded.serve(X), model(X))
    layer = keras.layers.TFSMLayer(str(tmp_path / "model"), call_endpoint="serve")
    assert np.allclose(layer(X), model(X))
    assert person.verdicts == ["safe", "safe"]


def writes(marker: Path) -> Callable[[Any], Any]:
    def act(x: Any) -> Any:
        tf.io.write_file(str(marker), "hello")
        return x

    return act


@pytest.mark.parametrize(
    "act",
    [
        writes,
        lambda marker: lambda x: tf.py_function(lambda v: (marker.touch(), v)[1], [x], tf.float32),
        lambda marker: lambda x: (tf.print("x", output_stream=f"file://{marker}"), x)[1],
        lambda marker: lambda x: tf.io.read_file("/etc/hostname"),
    ],
    ids=["WriteFile", "EagerPyFunc", "PrintV2", "ReadFile"],
)
@pytest.mark.usefixtures("nobody")
def test_a_graph_that_acts_is_refused(act: Any, marker: Path, tmp_path: Path) -> None:
    tf.saved_model.save(Acting(act(marker)), str(tmp_path / "model"))
    with pytest.raises(LoadBlocked, match="operation"):
        tf.saved_model.load(str(tmp_path / "model"))
    with pytest.raises(LoadBlocked, match="operation"):
        keras.layers.TFSMLayer(str(tmp_path / "model"), call_endpoint="serving_default")
    assert not marker.exists()


def test_a_graph_that_is_changed_after_the_scan_is_not_the_one_that_is_loaded(
    person: Any, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tf.saved_model.save(Module(tmp_path / "vocab.txt"), str(tmp_path / "model"))
    tf.saved_model.save(Acting(writes(marker)), str(tmp_path / "evil"))
    honest = walk.scan

    def then_changed(request: Any, opened: Any) -> Any:
        report = honest(request, opened)
        (tmp_path / "model/saved_model.pb").write_bytes((tmp_path / "evil/saved_model.pb").read_bytes())
        return report

    monkeypatch.setattr(walk, "scan", then_changed)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert np.allclose(loaded(tf.ones((1, 4))), 4)
    assert not marker.exists()


def test_graphs_of_tensorflow_1(person: Any, tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 3), name="x")
        y = tf.identity(x @ tf.compat.v1.get_variable("v", (3, 2)), name="y")
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})
        frozen = session.graph.as_graph_def().SerializeToString()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "model"))
        assert session.run("y:0", {"x:0": np.ones((1, 3))}).shape == (1, 2)
    assert person.verdicts == ["safe"]
    person.choice = "refuse"
    definition = tf.compat.v1.GraphDef.FromString(frozen)
    definition.node.add(name="bad", op="WriteFile", input=["y", "y"])
    with tf.Graph().as_default(), pytest.raises(LoadBlocked):
        tf.graph_util.import_graph_def(definition)


def lite_model(folder: Path) -> Path:
    traced = tf.function(lambda x: tf.nn.relu(x) * 2).get_concrete_function(tf.TensorSpec((1, 4)))
    path = folder / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())
    return path


@pytest.mark.parametrize("package", ["tensorflow.lite.python.interpreter", "ai_edge_litert.interpreter"])
def test_a_lite_model_loads_as_it_was(package: str, person: Any, tmp_path: Path) -> None:
    path = lite_model(tmp_path)
    for given in ({"model_path": str(path)}, {"model_content": path.read_bytes()}):
        interpreter = importlib.import_module(package).Interpreter(**given)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 4), "float32"))
        interpreter.invoke()
        assert np.allclose(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), 2)
    assert person.verdicts == ["safe"]  # one line of a person's code, one question


def test_a_compiled_lite_model_is_asked_about(person: Any, tmp_path: Path) -> None:
    from ai_edge_litert.compiled_model import CompiledModel

    path = lite_model(tmp_path)
    assert CompiledModel.from_file(str(path)).get_num_signatures() == 1
    assert CompiledModel.from_buffer(path.read_bytes()).get_num_signatures() == 1
    assert person.verdicts == ["safe", "safe"]


def test_a_lite_model_that_is_changed_while_it_lives(
    person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support" / "standins"))
    import lz4._version as _lz4
    from tflite_runtime.interpreter import Interpreter, load_delegate

    path = lite_model(tmp_path)
    before = path.read_bytes()
    interpreter = Interpreter(str(path))
    path.write_bytes(bytes(len(before)))
    assert interpreter.mapped() == before
    assert load_delegate("libedgetpu.so.1").library == "libedgetpu.so.1"  # installed on the system
    shutil.copy(_lz4.__file__, tmp_path / "mine.so")
    person.choice = "refuse"
    with pytest.raises(LoadBlocked, match="ELF"):
        load_delegate(str(tmp_path / "mine.so"))
    assert person.verdicts == ["safe", "review"]


def test_checkpoints_are_their_index_and_their_data(person: Any, tmp_path: Path) -> None:
    saved, again = tf.Variable(tf.ones((5,))), tf.Variable(tf.zeros((5,)))
    path = tf.train.Checkpoint(v=saved).save(str(tmp_path / "ck"))
    tf.train.Checkpoint(v=again).restore(path).assert_consumed()
    assert again.numpy().tolist() == [1] * 5
    assert person.verdicts == ["safe"]
    assert sorted(f.path for f in person.reports[0].files) == ["ck-1.data-00000-of-00001", "ck-1.index"]
    assert not any(f.inert for f in person.reports[0].files)


@pytest.mark.usefixtures("nobody")
def test_a_library_of_operations_is_native_code(tmp_path: Path) -> None:
    (tmp_path / "ops.so").write_bytes(b"\x7fELF" + bytes(100))
    for load in (tf.load_op_library, tf.load_library, tf.lite.experimental.load_delegate):
        with pytest.raises(LoadBlocked, match="ELF"):
            load(str(tmp_path / "ops.so"))


def test_the_verdicts_of_keras_2(person: Any, tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.save(tmp_path / "model.h5")
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model", save_format="tf")
    for name in ("model.h5", "model.keras", "model"):
        loaded = tf_keras.models.load_model(tmp_path / name, compile=False)
        assert np.allclose(loaded(X), model(X))
    model.save_weights(tmp_path / "weights")  # a checkpoint of TensorFlow
    model.save_weights(tmp_path / "model.weights.h5")
    for name in ("weights", "model.weights.h5", "model"):
        model.load_weights(tmp_path / name)
    assert {r.verdict for r in person.reports} == {Verdict.SAFE}
    harm = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Lambda(touches(tmp_path / "marker"))])
    (tmp_path / "marker").unlink(missing_ok=True)
    harm.save(tmp_path / "harm.h5")
    (tmp_path / "marker").unlink(missing_ok=True)
    with pytest.raises((ContractViolation, ValueError)):
        tf_keras.models.load_model(tmp_path / "harm.h5", safe_mode=False)
    assert person.verdicts[-1] == "danger"
    assert not (tmp_path / "marker").exists()
