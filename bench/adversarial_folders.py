"""Models of several files, and loaders that are not made for pickles, as places for a program.

for container, write in FOLDERS.items():
    path = write(program, folder)                   # a folder, or a file under another loader's name
    for way in FOLDER_WAYS[container]:
        FOLDER_WAYS[container][way](path)
"""

from __future__ import annotations

import dbm.dumb
import functools
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.adversarial_places import CONTAINERS, Way

Write = Callable[[bytes, Path], Path]

_BERT = {
    "model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 16,
    "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 8,
}  # fmt: skip


def torch_zip(program: bytes) -> bytes:
    """A PyTorch zip whose only pickle is `program`."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, data in (("data.pkl", program), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", data)
    return held.getvalue()


def _folder(name: str, files: Callable[[bytes], dict[str, bytes | str]]) -> Write:
    def write(program: bytes, folder: Path) -> Path:
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        for relative, data in files(program).items():
            path = place / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        return place

    return write


def _transformers(program: bytes) -> dict[str, bytes | str]:
    return {"config.json": json.dumps(_BERT), "pytorch_model.bin": torch_zip(program)}


def _shards(program: bytes) -> dict[str, bytes | str]:
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "pytorch_model-00001-of-00001.bin"}}
    return {
        "config.json": json.dumps(_BERT),
        "pytorch_model.bin.index.json": json.dumps(index),
        "pytorch_model-00001-of-00001.bin": torch_zip(program),
    }


def _adapter(program: bytes) -> dict[str, bytes | str]:
    config = {"peft_type": "LORA", "base_model_name_or_path": None, "r": 2, "target_modules": ["query"]}
    return {"adapter_config.json": json.dumps(config), "adapter_model.bin": torch_zip(program)}


def _sentences(program: bytes) -> dict[str, bytes | str]:
    modules = [{"idx": 0, "name": "0", "path": "0_Dense", "type": "sentence_transformers.models.Dense"}]
    dense = {
        "in_features": 2,
        "out_features": 2,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    return {
        "modules.json": json.dumps(modules),
        "0_Dense/config.json": json.dumps(dense),
        "0_Dense/pytorch_model.bin": torch_zip(program),
    }


def _diffusers(program: bytes) -> dict[str, bytes | str]:
    config = {"_class_name": "VQModel", "sample_size": 8, "block_out_channels": [4], "norm_num_groups": 1}
    return {"config.json": json.dumps(config), "diffusion_pytorch_model.bin": torch_zip(program)}


def _mlflow(program: bytes) -> dict[str, bytes | str]:
    model = "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    python_model: python_model.pkl\n"
    return {"MLmodel": f"{model}    python_version: 3.11.0\n", "python_model.pkl": program}


def _mlflow_sklearn(program: bytes) -> dict[str, bytes | str]:
    flavor = "    pickled_model: model.pkl\n    serialization_format: cloudpickle\n    sklearn_version: 1.7.0\n"
    function = "  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n"
    return {"MLmodel": f"flavors:\n{function}  sklearn:\n{flavor}", "model.pkl": program}


def _shelf(program: bytes, folder: Path) -> Path:
    for old in folder.glob("shelf.*"):
        old.unlink()
    with dbm.dumb.open(str(folder / "shelf"), "n") as shelf:
        shelf[b"model"] = program
    return folder / "shelf"


def _nemo(program: bytes, folder: Path) -> Path:
    path = folder / "model.nemo"
    with tarfile.open(path, "w") as archive:
        for name, data in (("model_config.yaml", b"target: nemo.Model\n"), ("model_weights.ckpt", torch_zip(program))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def _named(name: str) -> Write:
    def write(program: bytes, folder: Path) -> Path:
        path = folder / name
        path.write_bytes(program)
        return path

    return write


FOLDERS: dict[str, Write] = {
    "transformers folder": _folder("bert", _transformers),
    "transformers shards": _folder("shards", _shards),
    "training_args.bin": _folder("trainer", lambda p: {"training_args.bin": torch_zip(p), "optimizer.pt": p}),
    "peft adapter": _folder("adapter", _adapter),
    "sentence_transformers folder": _folder("sentences", _sentences),
    "diffusers folder": _folder("vq", _diffusers),
    "hub mixin folder": _folder("mixin", lambda p: {"config.json": "{}", "pytorch_model.bin": torch_zip(p)}),
    "mlflow python model": _folder("pyfunc", _mlflow),
    "mlflow sklearn": _folder("sklearn", _mlflow_sklearn),
    "shelve": _shelf,
    "nemo": _nemo,
    "under another name": _named("model.json"),
}


def _torch() -> Any:
    import torch

    return torch


def _auto(path: Path, **how: Any) -> Any:
    import transformers

    return transformers.AutoModel.from_pretrained(str(path), **how)


def _peft(path: Path) -> Any:
    import peft
    import transformers

    model = transformers.AutoModel.from_config(transformers.BertConfig(**_BERT))
    return peft.PeftModel.from_pretrained(model, str(path))


def _peft_weights(path: Path) -> Any:
    from peft.utils import load_peft_weights

    return load_peft_weights(str(path), device="cpu")


def _sentence(path: Path) -> Any:
    import sentence_transformers

    return sentence_transformers.SentenceTransformer(str(path), device="cpu")


def _vq(path: Path) -> Any:
    import diffusers

    return diffusers.VQModel.from_pretrained(str(path), use_safetensors=False)


@functools.cache
def _mixed_in() -> Any:
    import huggingface_hub

    class Small(_torch().nn.Module, huggingface_hub.PyTorchModelHubMixin):  # type: ignore[misc]
        pass

    return Small


def _pyfunc(path: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(path))


def _flavored(path: Path) -> Any:
    import mlflow.sklearn

    return mlflow.sklearn.load_model(str(path))


def _shelved(path: Path) -> Any:
    import shelve

    with shelve.open(str(path), "r") as shelf:
        return shelf["model"]


def _from_nemo(path: Path) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as place, tarfile.open(path) as archive:
        archive.extract("model_weights.ckpt", place)
        return _torch().load(os.path.join(place, "model_weights.ckpt"), map_location="cpu", weights_only=False)


def _booster(path: Path) -> Any:
    import xgboost

    return xgboost.Booster(model_file=str(path))


def _lightgbm(path: Path) -> Any:
    import lightgbm

    return lightgbm.Booster(model_file=str(path))


def _skops(path: Path) -> Any:
    import skops.io

    return skops.io.load(str(path))


def _url(path: Path) -> Any:
    return _torch().hub.load_state_dict_from_url(path.as_uri(), model_dir=str(path.parent / "hub"), weights_only=False)


def _loaded_args(path: Path) -> Any:
    return _torch().load(path / "training_args.bin", weights_only=False)


def _optimizer(path: Path) -> Any:
    with (path / "optimizer.pt").open("rb") as file:
        return pickle.load(file)


FOLDER_WAYS: dict[str, dict[str, Way]] = {
    "transformers folder": {
        "AutoModel": _auto,
        "AutoModel, pickles": lambda path: _auto(path, use_safetensors=False),
        "AutoModel, full pickles": lambda path: _auto(path, weights_only=False),
    },
    "transformers shards": {
        "AutoModel": _auto,
        "AutoModel, full pickles": lambda path: _auto(path, weights_only=False),
    },
    "training_args.bin": {"torch.load": _loaded_args, "pickle.load": _optimizer},
    "peft adapter": {"PeftModel": _peft, "load_peft_weights": _peft_weights},
    "sentence_transformers folder": {"SentenceTransformer": _sentence},
    "diffusers folder": {"VQModel": _vq},
    "hub mixin folder": {"from_pretrained": lambda path: _mixed_in().from_pretrained(str(path))},
    "mlflow python model": {"mlflow.pyfunc": _pyfunc},
    "mlflow sklearn": {"mlflow.sklearn": _flavored, "mlflow.pyfunc": _pyfunc},
    "shelve": {"shelve.open": _shelved},
    "nemo": {"unpacked": _from_nemo},
    "under another name": {
        "xgboost": _booster,
        "lightgbm": _lightgbm,
        "skops": _skops,
        "load_state_dict_from_url": _url,
    },
}
"""For each of them, how it is loaded."""

assert not set(FOLDERS) & set(CONTAINERS)
