"""ONNX through `onnx` and ONNX Runtime: honest models load, what reaches further is stopped."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nbguard.errors import ContractViolation, LoadBlocked

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)
X = np.ones((1, 4), np.float32)


def model(op: str = "MatMul", domain: str = "", **attributes: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], domain=domain, **attributes)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def plain(folder: Path) -> Path:
    onnx.save(model(), folder / "plain.onnx")
    return folder / "plain.onnx"


def with_data_beside(folder: Path, location: str = "data/weights.bin") -> Path:
    (folder / "data").mkdir()
    place = folder / "beside.onnx"
    onnx.save(model(), place, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (folder / "weights.bin").rename(folder / "data" / "weights.bin")
    return relocated(place, location)


def relocated(place: Path, location: str, **more: str) -> Path:
    """The same model, its data at `location`."""
    changed = onnx.ModelProto.FromString(place.read_bytes())
    for entry in changed.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
        elif entry.key in more:
            entry.value = more[entry.key]
    place.write_bytes(changed.SerializeToString())
    return place


def in_own_format(place: Path) -> Path:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(place.with_suffix(".ort"))
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(place, options)
    return place.with_suffix(".ort")


def weights(loaded: onnx.ModelProto) -> Any:
    return numpy_helper.to_array(loaded.graph.initializer[0])


@pytest.mark.usefixtures("guarded")
class TestOnnx:
    def test_an_honest_model_loads(self, person: Any, tmp_path: Path) -> None:
        place = plain(tmp_path)
        assert (weights(onnx.load(place)) == WEIGHTS).all()
        assert (weights(onnx.load_model(str(place))) == WEIGHTS).all()
        assert (weights(onnx.load_from_string(place.read_bytes())) == WEIGHTS).all()
        with place.open("rb") as stream:
            assert (weights(onnx.load(stream)) == WEIGHTS).all()
            assert stream.read() == b""
        assert person.verdicts == ["safe"] * len(person.verdicts)

    @pytest.mark.parametrize("form", ["textproto", "json"])
    def test_a_model_in_text_loads(self, person: Any, tmp_path: Path, form: str) -> None:
        onnx.save(model(), tmp_path / f"model.{form}")
        assert (weights(onnx.load(tmp_path / f"model.{form}")) == WEIGHTS).all()
        text = (tmp_path / f"model.{form}").read_text()
        assert (weights(onnx.load_from_string(text, format=form)) == WEIGHTS).all()
        assert person.reports[0].files[0].format == "onnx"

    def test_data_beside_it_is_asked_about_and_read_by_handle(self, person: Any, tmp_path: Path) -> None:
        place = with_data_beside(tmp_path)
        assert (weights(onnx.load(place)) == WEIGHTS).all()
        assert [f.path for f in person.reports[0].files] == ["beside.onnx", "data/weights.bin"]
        assert person.reports[0].contract.companions == ("data/weights.bin",)
        assert person.verdicts == ["safe"]

    def test_data_beside_it_may_be_loaded_later(self, person: Any, tmp_path: Path) -> None:
        later = onnx.load(with_data_beside(tmp_path), load_external_data=False)
        assert onnx.external_data_helper.uses_external_data(later.graph.initializer[0])
        onnx.load_external_data_for_model(later, str(tmp_path))
        assert (weights(later) == WEIGHTS).all()

    @pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "data/../../secret"])
    def test_data_outside_of_the_folder_is_danger_and_never_read(
        self, person: Any, tmp_path: Path, location: str
    ) -> None:
        (tmp_path / "secret").write_bytes(b"k" * 48)
        inner = tmp_path / "inner"
        inner.mkdir()
        place = with_data_beside(inner, location)
        with pytest.raises(LoadBlocked):
            onnx.load(place)
        assert person.verdicts == ["danger"]

    def test_data_swapped_after_the_answer_never_gets_in(
        self, person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from nbguard.hooks import walk

        place = with_data_beside(tmp_path)

        def swap_then_accept(*asked: Any) -> Any:
            other = tmp_path / "other"
            other.write_bytes(b"\0" * 48)
            other.replace(tmp_path / "data" / "weights.bin")
            return person(*asked)

        monkeypatch.setattr(walk, "ask", swap_then_accept)
        with pytest.raises(ContractViolation):
            onnx.load(place)

    def test_a_size_that_lies_is_refused(self, person: Any, tmp_path: Path) -> None:
        lying = model()
        lying.graph.initializer[0].dims[0] = 4000
        (tmp_path / "lying.onnx").write_bytes(lying.SerializeToString())
        with pytest.raises(LoadBlocked):
            onnx.load(tmp_path / "lying.onnx")


@pytest.mark.usefixtures("guarded")
class TestSession:
    def run(self, source: Any, **how: Any) -> Any:
        return onnxruntime.InferenceSession(source, **how).run(None, {"x": X})[0]

    def test_an_honest_model_loads(self, person: Any, tmp_path: Path) -> None:
        place = plain(tmp_path)
        assert (self.run(place) == X @ WEIGHTS).all()
        assert (self.run(str(place), providers=["CPUExecutionProvider"]) == X @ WEIGHTS).all()
        assert (self.run(place.read_bytes()) == X @ WEIGHTS).all()
        assert set(person.verdicts) == {"safe"}

    def test_a_session_is_made_anew_from_what_was_scanned(self, person: Any, tmp_path: Path) -> None:
        place = plain(tmp_path)
        session = onnxruntime.InferenceSession(place)
        other = model("Add")
        onnx.save(other, tmp_path / "other.onnx")
        os.replace(tmp_path / "other.onnx", place)
        session.set_providers(["CPUExecutionProvider"])
        assert (session.run(None, {"x": X})[0] == X @ WEIGHTS).all()

    @pytest.mark.parametrize("options", [False, True])
    def test_data_beside_it_comes_from_the_scanned_handle(self, person: Any, tmp_path: Path, options: bool) -> None:
        place = with_data_beside(tmp_path)
        how = {"sess_options": onnxruntime.SessionOptions()} if options else {}
        for _ in range(2):
            assert (self.run(place, **how) == X @ WEIGHTS).all()
        assert {len(r.files) for r in person.reports} == {2}

    def test_options_that_lead_to_another_folder_are_refused(self, person: Any, tmp_path: Path) -> None:
        place = with_data_beside(tmp_path)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/etc")
        with pytest.raises(LoadBlocked, match="another folder"):
            self.run(place, sess_options=options)

    def test_bytes_that_name_data_files_are_refused(
        self, person: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The runtime would look for them in the working folder."""
        data = with_data_beside(tmp_path).read_bytes()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(LoadBlocked, match="was not scanned"):
            self.run(data)

    def test_a_model_in_the_runtimes_own_format_loads(self, person: Any, tmp_path: Path) -> None:
        place = in_own_format(plain(tmp_path))
        person.reports.clear()
        assert (self.run(place) == X @ WEIGHTS).all()
        assert (self.run(place.read_bytes()) == X @ WEIGHTS).all()
        assert {(r.files[0].format, r.verdict.word) for r in person.reports} == {("ort", "safe")}

    def test_a_broken_model_in_that_format_is_refused(self, person: Any, tmp_path: Path) -> None:
        place = in_own_format(plain(tmp_path))
        data = bytearray(place.read_bytes())
        data[0:4] = (1 << 30).to_bytes(4, "little")
        place.write_bytes(data)
        with pytest.raises(LoadBlocked):
            self.run(place)

    @pytest.mark.parametrize("below", ["", "onnx/"])
    def test_models_in_the_cache_of_a_hub_are_links(self, person: Any, tmp_path: Path, below: str) -> None:
        blobs = tmp_path / "models--some--model" / "blobs"
        snapshot = tmp_path / "models--some--model" / "snapshots" / ("a" * 40)
        blobs.mkdir(parents=True)
        (snapshot / below / "data").mkdir(parents=True)
        place = with_data_beside(tmp_path)
        for name, blob in (("beside.onnx", "0" * 64), ("data/weights.bin", "1" * 64)):
            shutil.move(tmp_path / name, blobs / blob)
            (snapshot / below / name).symlink_to(blobs / blob)
        place = snapshot / below / "beside.onnx"
        assert (self.run(place) == X @ WEIGHTS).all()
        assert (weights(onnx.load(place)) == WEIGHTS).all()
        assert [f.path for f in person.reports[0].files][1] == "data/weights.bin"

    def test_data_that_is_not_there_is_not_looked_for(self, person: Any, tmp_path: Path) -> None:
        place = with_data_beside(tmp_path)
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(LoadBlocked, match="was not scanned"):
            self.run(place)
        assert person.verdicts == ["review"]

    def test_an_address_in_memory_is_danger(self, person: Any, tmp_path: Path) -> None:
        place = relocated(with_data_beside(tmp_path), "*/_ORT_MEM_ADDR_/*", offset="4096")
        with pytest.raises(LoadBlocked):
            self.run(place)
        assert person.verdicts == ["danger"]
        assert person.reports[0].findings[0].rule == "onnx.memory-address"

    def test_an_operator_that_calls_python_is_danger(self, person: Any, tmp_path: Path) -> None:
        onnx.save(model("PyOp", "pyop", module="os", class_name="system"), tmp_path / "python.onnx")
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            self.run(tmp_path / "python.onnx")
        assert person.verdicts == ["danger"]
        assert "class_name='system'" in person.reports[0].findings[0].evidence

    def test_a_library_of_operators_is_asked_about(self, person: Any, tmp_path: Path) -> None:
        library = next(Path(onnxruntime.__file__).parent.glob("capi/*.so*"))
        shutil.copy(library, tmp_path / "operators.so")
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            onnxruntime.SessionOptions().register_custom_ops_library(str(tmp_path / "operators.so"))
        assert person.reports[0].contract.native
        person.choice = "once"
        with pytest.raises(Exception, match="RegisterCustomOps"):  # it has none, which only loading it can tell
            onnxruntime.SessionOptions().register_custom_ops_library(str(tmp_path / "operators.so"))

    def test_a_library_of_an_installed_package_is_not_asked_about(self, person: Any) -> None:
        library = next(Path(onnxruntime.__file__).parent.glob("capi/*.so*"))
        with pytest.raises(Exception, match="RegisterCustomOps"):
            onnxruntime.SessionOptions().register_custom_ops_library(str(library))
        assert person.reports == []

    def test_a_library_for_an_accelerator_is_asked_about(self, person: Any, tmp_path: Path) -> None:
        library = next(Path(onnxruntime.__file__).parent.glob("capi/*.so*"))
        shutil.copy(library, tmp_path / "provider.so")
        person.choice = "refuse"
        with pytest.raises(LoadBlocked):
            onnxruntime.register_execution_provider_library("mine", str(tmp_path / "provider.so"))
        assert person.reports[0].contract.native
        person.choice = "once"
        with pytest.raises(Exception, match="CreateEpFactories"):  # it makes none, which only loading it can tell
            onnxruntime.register_execution_provider_library("mine", str(tmp_path / "provider.so"))


@pytest.mark.usefixtures("guarded", "fooled")
class TestWithAScannerThatWasFooled:
    @pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "*/_ORT_MEM_ADDR_/*"])
    def test_nothing_outside_of_what_was_scanned_is_read(self, person: Any, tmp_path: Path, location: str) -> None:
        (tmp_path / "secret").write_bytes(b"k" * 48)
        inner = tmp_path / "inner"
        inner.mkdir()
        place = with_data_beside(inner, location)
        with pytest.raises(LoadBlocked):
            onnx.load(place)
        with pytest.raises(LoadBlocked):
            onnxruntime.InferenceSession(place)


def test_a_stream_keeps_its_place(person: Any, guarded: None) -> None:
    stream = io.BytesIO(b"before" + model().SerializeToString())
    stream.seek(6)
    assert (weights(onnx.load(stream)) == WEIGHTS).all()
