"""Indices of models in several files, and what they may name."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_set import COMMAND, Sample
from sample_set.safetensors import build as numbers
from sample_set.safetensors import tensor

INDEX = "model.safetensors.index.json"
MAP = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


def folder(
    table: Any = None, *, name: str = INDEX, text: str | None = None, more: dict[str, bytes] | None = None,
    left_out: str = "", files: dict[str, str] | None = None,
) -> Callable[[Path], Path]:  # fmt: skip
    """A `build` for a model of two files with an index of `table`."""

    def build(place: Path) -> Path:
        index = {"metadata": {"total_size": 8}, "weight_map": MAP if table is None else table}
        (place / name).write_text(json.dumps(index) if text is None else text)
        (place / "config.json").write_text(json.dumps({"model_type": "llama"}))
        for held, file in (MAP if files is None else files).items():
            if file != left_out:
                (place / file).write_bytes(numbers({held: tensor(0, 4)}, b"1234"))
        for file, data in (more or {}).items():
            (place / file).write_bytes(data)
        return place

    return build


def honest(place: Path) -> Path:
    """As huggingface_hub's own writer splits a model."""
    import torch
    from huggingface_hub import save_torch_model

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(40, 40) for _ in range(4)])

    save_torch_model(Model(), str(place), max_shard_size=10_000)
    (place / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert (place / INDEX).exists()
    return place


def honest_pickles(place: Path) -> Path:
    import torch
    from huggingface_hub import save_torch_state_dict

    state = {f"w{n}": torch.ones(40, 40) for n in range(4)}
    save_torch_state_dict(state, str(place), max_shard_size=10_000, safe_serialization=False)
    (place / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return place


HUB = ("torch", "huggingface_hub")
SAMPLES = (
    Sample("index/honest", "weights-index", honest, ("safe",), honest=True, needs=HUB),
    Sample("index/honest-pickles", "weights-index", honest_pickles, ("safe",), honest=True, needs=HUB),
    Sample(
        "index/of-files-that-were-not-fetched", "weights-index",
        folder({"a": "pytorch_model-00001-of-00001.bin"}, name="pytorch_model.bin.index.json"), ("safe",),
    ),
    *(
        Sample(
            f"index/{name}", "weights-index", folder({**MAP, "b": path}, name=index), ("danger",), rule="index.path",
            trick="It names a file outside of the model's folder.",
        )
        for name, path, index in (
            ("climbs", "../../secret/model.safetensors", INDEX),
            ("absolute", "/home/someone/model.safetensors", INDEX),
            ("backslashes", "..\\..\\model.safetensors", INDEX),
            ("drive", "C:/model.safetensors", INDEX),
            ("address", "https://example.org/model.safetensors", INDEX),
            ("pickle-climbs", "../../cache/evil.bin", "pytorch_model.bin.index.json"),
            ("variant-climbs", "../x.safetensors", "model.safetensors.index.fp16.json"),
            ("other-name-climbs", "../x.safetensors", "shards.json"),
        )
    ),
    Sample(
        "index/safetensors-that-is-a-pickle", "weights-index",
        folder({**MAP, "b": "other.bin"}, more={"other.bin": pickle.dumps(Payload())}), ("danger",), rule="index.kind",
        trick="An index of safetensors names a pickle, which libraries unpickle by its ending.",
    ),
    Sample(
        "index/piece-missing", "weights-index", folder(left_out=MAP["b"]), ("review",), rule="index.missing",
        trick="One of the files is not there, and could be put there later.",
    ),
    Sample(
        "index/disagrees", "weights-index", folder({"a": MAP["a"], "c": MAP["b"]}), ("review",),
        rule="index.disagrees", trick="It promises a tensor that its file does not hold.",
    ),
    Sample(
        "index/same-name", "weights-index",
        folder(text='{"weight_map":{},"weight_map":{"a":"../x.safetensors"}}'), ("danger",),
        rule="index.malformed", trick="It is there twice, and the second one leads out.",
    ),
    Sample(
        "index/files-that-are-no-text", "weights-index", folder({"a": ["x"]}), ("unverifiable",),
        rule="index.malformed", trick="A file is named by a list.",
    ),
)  # fmt: skip
