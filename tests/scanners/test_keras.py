"""Keras' files: what a configuration names, byte code in it, and files that reach out of themselves."""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nbguard.artifact.sources import open_bytes
from nbguard.report.model import Report, Verdict
from nbguard.scanners import scan, scan_opened


def layer(name: str, config: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": config or {}, "registered_name": None, **more}


def model(*layers: Any) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


def code(function: Callable[..., Any]) -> str:
    return base64.encodebytes(marshal.dumps(function.__code__)).decode()


def lambda_layer(text: str) -> dict[str, Any]:
    value = {"code": text, "defaults": None, "closure": None}
    return layer("Lambda", {"function": {"class_name": "__lambda__", "config": value}})


def old_lambda(text: str) -> dict[str, Any]:
    return {"class_name": "Lambda", "config": {"function": [text, None, None], "function_type": "lambda"}}


def weights(write: Callable[[h5py.File], object] = lambda file: None) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.ones((3, 4), "f4"))
        write(file)
    return stream.getvalue()


def archive(config: Any, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        for name, data in {"model.weights.h5": weights(), **members}.items():
            file.writestr(name, data)
    return stream.getvalue()


def old_file(config: Any) -> bytes:
    return weights(lambda file: file.attrs.__setitem__("model_config", json.dumps(config)))


def look(data: bytes, name: str = "model.keras") -> Report:
    with open_bytes(data, name=name) as opened:
        return scan_opened(opened, loader="keras.saving.load_model")


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


@pytest.mark.parametrize("form", [archive, old_file])
def test_layers_of_keras_are_explained(form: Callable[[Any], bytes]) -> None:
    dense = layer("Dense", {"units": 3, "activation": "relu", "kernel_initializer": layer("GlorotUniform")})
    report = look(form(model(dense, layer("Dropout"), layer("BatchNormalization"))))
    assert (report.verdict, report.findings) == (Verdict.SAFE, ())
    assert report.contract.layout
    assert "1 tensor" in report.summary[0]


@pytest.mark.parametrize("form", [archive, old_file])
@pytest.mark.parametrize("old", [False, True])
def test_a_lambda_that_acts_is_danger(form: Callable[[Any], bytes], old: bool) -> None:
    text = code(lambda x: os.system("id"))
    report = look(form(model(old_lambda(text) if old else lambda_layer(text))))
    assert report.verdict is Verdict.DANGER
    finding = next(f for f in report.findings if f.rule == "keras.lambda")
    assert "os, system" in finding.message
    assert "LOAD_GLOBAL os" in finding.evidence
    assert [c.kind for c in report.contract.code] == ["bytecode"]


def test_a_lambda_that_computes_is_to_be_looked_at() -> None:
    report = look(archive(model(lambda_layer(code(lambda x: x * 2)))))
    assert (report.verdict, rules(report)) == (Verdict.REVIEW, {"keras.lambda"})


@pytest.mark.parametrize(
    "text",
    ["not base64 of code", base64.b64encode(marshal.dumps((lambda: 0).__code__)[:-2]).decode(), ""],
)
def test_a_lambda_that_cannot_be_read_is_not_accepted(text: str) -> None:
    assert look(archive(model(lambda_layer(text)))).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("subprocess", "run"),
        ("keras.utils", "get_file"),
        ("keras.config", "enable_unsafe_deserialization"),
        ("keras.src.utils.python_utils", "func_load"),
        ("keras.saving", "load_model"),
        ("numpy", "load"),
        ("torch", "load"),
        ("shutil", "rmtree"),
    ],
)
def test_a_function_that_the_configuration_imports_is_danger(module: str, name: str) -> None:
    function = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    report = look(archive(model(layer("Activation", {"activation": function}))))
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"keras.import"})
    assert (module, name) in {(g.module, g.name) for g in report.contract.globals if g.level == "gadget"}


@pytest.mark.parametrize("module", ["builtins", "keras.activations", "keras.ops"])
def test_a_function_of_keras_is_explained(module: str) -> None:
    function = {"module": module, "class_name": "function", "config": "relu", "registered_name": "relu"}
    assert look(archive(model(layer("Activation", {"activation": function})))).verdict is Verdict.SAFE


def test_a_class_of_the_persons_own_is_to_be_looked_at() -> None:
    own = layer("Double", module="my_layers", registered_name="mine>Double")
    report = look(archive(model(own)))
    assert (report.verdict, rules(report)) == (Verdict.REVIEW, {"keras.custom"})
    assert "mine>Double" in report.summary[0]


def test_a_class_of_the_library_is_no_layer() -> None:
    report = look(archive(model({**layer("Popen"), "module": "subprocess"})))
    assert report.verdict is Verdict.DANGER


@pytest.mark.parametrize("path", ["/etc/passwd", "https://example.org/words", "../words.txt", "~/.ssh/id_rsa"])
def test_a_vocabulary_that_lies_elsewhere_is_danger(path: str) -> None:
    report = look(archive(model(layer("StringLookup", {"vocabulary": path}))))
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"keras.vocabulary-file"})


def test_a_vocabulary_in_the_configuration_is_data() -> None:
    assert look(archive(model(layer("StringLookup", {"vocabulary": ["a", "b"]})))).verdict is Verdict.SAFE


def test_a_torch_module_in_a_layer_is_judged_as_the_pickle_that_it_is(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/marker",)

    wrapped = layer("TorchModuleWrapper", {"module": base64.b64encode(pickle.dumps(Payload())).decode()})
    report = look(archive(model(wrapped)))
    assert report.verdict is Verdict.DANGER
    assert {"keras.torch-module", "pickle.gadget"} <= rules(report)
    assert not (tmp_path / "marker").exists()


def test_another_model_that_a_layer_loads() -> None:
    assert look(archive(model(layer("TFSMLayer", {"filepath": "/tmp/model"})))).verdict is Verdict.DANGER
    assert look(archive(model(layer("TFSMLayer", {"filepath": "beside"})))).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("function", "verdict"), [("math.reduce_mean", Verdict.SAFE), ("io.write_file", Verdict.DANGER)]
)
def test_functions_of_tensorflow_by_name(function: str, verdict: Verdict) -> None:
    assert look(old_file(model(layer("TFOpLambda", {"function": function})))).verdict is verdict


def test_json_that_hides_its_words_is_parsed_all_the_same() -> None:
    config = json.dumps(model(lambda_layer(code(lambda: os.system("id"))))).replace("class_name", "cl\\u0061ss_name")
    assert look(archive(config.encode())).verdict is Verdict.DANGER
    assert look(archive(config.encode("utf-16"))).verdict is Verdict.DANGER


def test_a_configuration_that_is_no_json() -> None:
    assert look(archive(b"{")).verdict is Verdict.UNVERIFIABLE


def test_a_folder_is_judged_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("{}")
    (tmp_path / "model.weights.h5").write_bytes(weights())
    (tmp_path / "config.json").write_text(json.dumps(model(layer("Dense"))))
    assert scan(str(tmp_path)).verdict is Verdict.SAFE
    (tmp_path / "config.json").write_text(json.dumps(model(lambda_layer(code(lambda: os.system("id"))))))
    assert scan(str(tmp_path)).verdict is Verdict.DANGER


def test_a_torch_checkpoint_that_is_a_keras_model_too() -> None:
    evil = json.dumps(model(lambda_layer(code(lambda: os.system("id"))))).encode()
    data = archive(evil, **{"archive/data.pkl": pickle.dumps({}), "archive/version": b"3"})
    assert look(data, "model.pt").verdict is Verdict.DANGER


@pytest.mark.parametrize("member", [False, True])
def test_links_and_storage_that_lead_out_are_danger(member: bool, tmp_path: Path) -> None:
    for write, rule in (
        (lambda f: f.__setitem__("away", h5py.ExternalLink("/etc/passwd", "/x")), "hdf5.external-link"),
        (
            lambda f: f.create_dataset("o", (10,), dtype="f4", external=[(str(tmp_path / "raw"), 0, 40)]),
            "hdf5.external-storage",
        ),
    ):
        data = weights(write)
        report = look(archive(model(layer("Dense")), **{"model.weights.h5": data}) if member else data, "w.weights.h5")
        assert (report.verdict, rules(report)) == (Verdict.DANGER, {rule})


def test_filters_that_are_plug_ins_are_native_code() -> None:
    data = bytearray(weights(lambda f: f.create_dataset("c", data=np.zeros(100), chunks=(10,), compression="lzf")))
    at = data.index((32000).to_bytes(2, "little") + b"\x08\0")
    data[at : at + 2] = (32015).to_bytes(2, "little")
    report = look(bytes(data), "w.h5")
    assert (report.verdict, rules(report)) == (Verdict.REVIEW, {"hdf5.filter"})


def test_a_dataset_that_claims_to_be_huge() -> None:
    report = look(weights(lambda f: f.create_dataset("bomb", (1 << 40,), dtype="f4", chunks=(1024,))), "w.h5")
    assert (report.verdict, rules(report)) == (Verdict.UNVERIFIABLE, {"hdf5.size"})


def test_a_pickle_in_an_attribute_is_judged(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/marker",)

    data = weights(lambda f: f.attrs.__setitem__("object", np.bytes_(pickle.dumps(Payload(), 0))))
    assert look(data, "frame.h5").verdict is Verdict.DANGER


def test_a_sharded_index_takes_its_files_with_it(tmp_path: Path) -> None:
    from nbguard.artifact.sources import open_files

    (tmp_path / "m_00000.weights.h5").write_bytes(
        weights(lambda f: f.__setitem__("away", h5py.ExternalLink("/etc/passwd", "/x")))
    )
    index = {"metadata": {}, "weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}
    (tmp_path / "m.weights.json").write_text(json.dumps(index))
    names = ["m.weights.json", "m_00000.weights.h5"]
    with open_files(str(tmp_path), names, target="m.weights.json", kind="path") as opened:
        assert scan_opened(opened).verdict is Verdict.DANGER
    for name, verdict in (("elsewhere.h5", Verdict.UNVERIFIABLE), ("../elsewhere.h5", Verdict.DANGER)):
        (tmp_path / "m.weights.json").write_text(json.dumps({"weight_map": {"/a": name}}))
        with open_files(str(tmp_path), names[:1], target="m.weights.json", kind="path") as opened:
            assert scan_opened(opened).verdict is verdict
