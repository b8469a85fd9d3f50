"""Which files a library would open of a repository, told from names and configurations alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from nbguard.artifact.checkpoints import Choice, Plan
from nbguard.hooks.loaders import peft_, pipelines, sentence_, timm_
from nbguard.scanners import config_classes
from nbguard.scanners.class_names import judge_class, judge_component


def chosen(plan: Plan, files: Mapping[str, Any]) -> Choice:
    data = {k: v if isinstance(v, bytes) else json.dumps(v).encode() for k, v in files.items()}
    return plan(sorted(data), data.get)


PIPE: dict[str, Any] = {
    "model_index.json": {"_class_name": "P", "unet": ["diffusers", "U"], "text": ["transformers", "T"],
                         "gone": [None, None], "scheduler": ["diffusers", "S"]},
    "README.md": b"", "picture.png": b"", "setup.py": b"", "beside/other.bin": b"",
    "scheduler/scheduler_config.json": {},
    "text/config.json": {}, "text/model.safetensors": b"", "text/pytorch_model.bin": b"",
    "unet/config.json": {}, "unet/diffusion_pytorch_model.safetensors": b"",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"", "unet/diffusion_pytorch_model.bin": b"",
}  # fmt: skip


def test_a_pipeline_takes_its_components_and_nothing_beside_them() -> None:
    choice = chosen(pipelines.pipeline({}, hub=True), PIPE)
    assert set(choice.files) == {
        "model_index.json", "scheduler/scheduler_config.json", "text/config.json", "text/model.safetensors",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
    }  # fmt: skip
    assert {n.path for n in choice.passed_over} == set(PIPE) - set(choice.files)


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({"variant": "fp16"}, {"text/model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"}),
        ({"use_safetensors": False}, {"text/pytorch_model.bin", "unet/diffusion_pytorch_model.bin"}),
        ({"text": object()}, {"unet/diffusion_pytorch_model.safetensors"}),
    ],
)
def test_the_arguments_of_a_call_narrow_it(given: dict[str, Any], weights: set[str]) -> None:
    assert set(chosen(pipelines.pipeline(given, hub=True), PIPE).weights) == weights


def test_shards_are_followed_and_never_out_of_the_listing() -> None:
    index = {"weight_map": {"a": "d-1.safetensors", "b": "d-2.safetensors", "c": "../../secret", "e": 7}}
    files = {**PIPE, "unet/diffusion_pytorch_model.safetensors.index.json": index, "unet/d-1.safetensors": b"",
             "unet/d-2.safetensors": b""}  # fmt: skip
    del files["unet/diffusion_pytorch_model.safetensors"]
    weights = set(chosen(pipelines.pipeline({}, hub=True), files).weights)
    assert weights == {"text/model.safetensors", "unet/diffusion_pytorch_model.safetensors.index.json",
                       "unet/d-1.safetensors", "unet/d-2.safetensors"}  # fmt: skip


def test_code_only_where_it_is_trusted() -> None:
    index = {**PIPE["model_index.json"], "_class_name": ["mine", "Mine"], "unet": ["net", "N"]}
    code = {"mine.py": b"from .part import x\n", "part.py": b"", "unet/net.py": b"", "unused.py": b""}
    files = {**PIPE, **code, "model_index.json": index}
    assert not [n for n in chosen(pipelines.pipeline({}, hub=True), files).files if n.endswith(".py")]
    trusted = chosen(pipelines.pipeline({"trust_remote_code": True}, hub=True), files)
    assert {n for n in trusted.files if n.endswith(".py")} == {"mine.py", "part.py", "unet/net.py"}


@pytest.mark.parametrize(
    ("custom", "trust", "source"),
    [
        ("lpw_words", False, "datasets/diffusers/community-pipelines-mirror"),
        ("lpw_words", True, "datasets/diffusers/community-pipelines-mirror"),
        ("org/code", True, "org/code"),
        ("org/code", False, None),
        ("/tmp/mine/pipe.py", True, "/tmp/mine"),
        (7, True, None),
    ],
)
def test_where_the_code_of_a_custom_pipeline_comes_from(custom: Any, trust: bool, source: str | None) -> None:
    plan = pipelines.pipeline({"custom_pipeline": custom, "trust_remote_code": trust}, hub=True)
    assert [f.source for f in chosen(plan, PIPE).further] == ([source] if source else [])


def test_an_index_that_is_no_index_chooses_nothing_odd() -> None:
    for index in ([], 7, {"unet": 7, "x": ["a"], "y": [1, 2], "_z": ["os", "system"]}, {"unet": [[], {}]}):
        files = {**PIPE, "model_index.json": index}
        assert "beside/other.bin" not in chosen(pipelines.pipeline({"trust_remote_code": True}, hub=True), files).files


def test_a_component_and_a_scheduler() -> None:
    files = chosen(pipelines.component({"subfolder": "unet"}, hub=True), PIPE).files
    assert set(files) == {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
    files = chosen(pipelines.settings({"subfolder": "scheduler"}, hub=True), PIPE).files
    assert set(files) == {"scheduler/scheduler_config.json"}


SENTENCE: dict[str, Any] = {
    "modules.json": [{"path": "", "type": "a"}, {"path": "1_Pooling", "type": "b"}, {"path": "2_Dense", "type": "c"}],
    "config.json": {}, "model.safetensors": b"", "pytorch_model.bin": b"", "1_Pooling/config.json": {},
    "2_Dense/config.json": {}, "2_Dense/pytorch_model.bin": b"", "onnx/model.onnx": b"", "onnx/model.onnx_data": b"",
    "openvino/openvino_model.xml": b"", "openvino/openvino_model.bin": b"", "onnx/model_O3.onnx": b"",
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({}, {"model.safetensors", "2_Dense/pytorch_model.bin"}),
        ({"backend": "onnx"}, {"onnx/model.onnx", "onnx/model.onnx_data", "2_Dense/pytorch_model.bin"}),
        ({"backend": "onnx", "model_kwargs": {"file_name": "model_O3.onnx"}},
         {"onnx/model_O3.onnx", "2_Dense/pytorch_model.bin"}),
        ({"backend": "openvino"}, {"openvino/openvino_model.xml", "openvino/openvino_model.bin",
                                   "2_Dense/pytorch_model.bin"}),
        ({"model_kwargs": {"use_safetensors": False}}, {"pytorch_model.bin", "2_Dense/pytorch_model.bin"}),
    ],
)  # fmt: skip
def test_the_modules_of_a_sentence_transformer(given: dict[str, Any], weights: set[str]) -> None:
    assert set(chosen(sentence_.planned(given), SENTENCE).weights) == weights


def test_what_a_router_leads_to() -> None:
    files: dict[str, Any] = {
        "modules.json": [{"path": "", "type": "r"}], "router_config.json": {"types": {"query_0": "x"}},
        "query_0/model.safetensors": b"", "other_0/model.safetensors": b"",
    }  # fmt: skip
    assert chosen(sentence_.planned({}), files).weights == ("query_0/model.safetensors",)


@pytest.mark.parametrize("modules", [7, "x", {"path": ""}, [{"path": 7}], [7, None], [{"path": "../../etc"}]])
def test_modules_that_are_no_modules(modules: Any) -> None:
    choice = chosen(sentence_.planned({"trust_remote_code": True}), {**SENTENCE, "modules.json": modules})
    assert set(choice.files) <= set(SENTENCE)


def test_an_adapter_names_its_base_model() -> None:
    files: dict[str, Any] = {
        "adapter_config.json": {"base_model_name_or_path": "org/base", "revision": "v1"}, "tokenizer.json": {},
        "adapter_model.bin": b"", "adapter_model.safetensors": b"", "optimizer.pt": b"", "README.md": b"",
    }  # fmt: skip
    choice = chosen(peft_.with_base_model({}), files)
    assert set(choice.files) == {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}
    assert [(f.source, f.revision) for f in choice.further] == [("org/base", "v1")]
    for odd in (7, None, "", ["org/base"], {"a": 1}):
        files["adapter_config.json"] = {"base_model_name_or_path": odd}
        assert chosen(peft_.with_base_model({}), files).further == ()


def test_timm_takes_the_safetensors_of_a_hub_and_its_own_order_in_a_folder() -> None:
    files: dict[str, Any] = {"config.json": {}, "pytorch_model.bin": b"", "z.pth": b"", "model.safetensors": b""}
    assert chosen(timm_.in_hub(True), files).weights == ("model.safetensors",)
    assert chosen(timm_.in_hub(False), files).weights == ()
    del files["model.safetensors"], files["pytorch_model.bin"]
    assert chosen(timm_.in_folder(True), files).weights == ("z.pth",)
    files["config.json"] = {"pretrained_cfg": {"hf_hub_filename": "z.pth"}}
    assert chosen(timm_.in_hub(True), files).weights == ("z.pth",)


# names


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("torch.nn.modules.activation.Tanh", "free"),
        ("sentence_transformers.models.Pooling", "free"),
        ("transformers.activations.GELUActivation", "free"),
        ("pylate.models.Dense.Dense", "package"),
        ("torch.utils.collect_env.main", "never"),
        ("torch.nn.__builtins__.exec", "never"),
        ("os.system", "never"),
        ("nbguard.hooks.uninstall", "never"),
        ("Tanh", "never"),
        ("a b.c", "never"),
        ("torch.nn.\u0430", "never"),
        ("a." * 200 + "b", "never"),
    ],
)
def test_class_names(name: str, level: str) -> None:
    assert judge_class(name).level == level


@pytest.mark.parametrize(
    ("library", "name", "allowed"),
    [
        ("diffusers", "UNet2DModel", True), ("my_unet", "MyUNet", True), ("os", "system", False),
        ("transformers.x", "Y", True), ("diffusers", "__init__", False), ("a/b", "C", False), ("a", "B-C", False),
    ],
)  # fmt: skip
def test_names_of_components(library: str, name: str, allowed: bool) -> None:
    assert (judge_component(library, name, installed=library == "os") == "") is allowed


def test_where_names_stand_in_configurations() -> None:
    bad = "torch.utils.collect_env.main"
    for file, value in (
        ("2_Dense/config.json", {"activation_function": bad}),
        ("config.json", {"sentence_transformers": {"activation_fn": bad}}),
        ("config.json", {"sbert_ce_default_activation_function": bad}),
        ("config_sentence_transformers.json", {"activation_fn": bad}),
        ("model_index.json", {"unet": ["os", "system"]}),
        ("adapter_config.json", {"auto_mapping": {"parent_library": "os", "base_model_class": "x.y"}}),
    ):
        assert [f.rule for f, _ in config_classes.findings(file, value)] == ["config.class"], file
    for file, value in (
        ("config.json", {"activation_function": "gelu_new"}),
        ("model_index.json", {"unet": ["diffusers", "U"], "safety_checker": [None, None]}),
        ("adapter_config.json", {"auto_mapping": {"parent_library": "transformers.models.bert.modeling_bert",
                                                  "base_model_class": "BertModel"}}),
        ("adapter_config.json", {"auto_mapping": {"parent_library": "__main__", "base_model_class": "Mine"}}),
    ):  # fmt: skip
        assert config_classes.findings(file, value) == [], file
