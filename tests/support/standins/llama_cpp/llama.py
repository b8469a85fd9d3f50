"""`Llama` with llama-cpp-python's own signature. It keeps the bytes of every file that llama.cpp would have mapped."""

from __future__ import annotations

import os
import re
from typing import Any

_SPLIT = re.compile(r"-00001-of-(\d{5})\.gguf$")


class Llama:
    def __init__(
        self,
        model_path: str,
        *,
        n_gpu_layers: int = 0,
        split_mode: int = 1,
        main_gpu: int = 0,
        tensor_split: list[float] | None = None,
        vocab_only: bool = False,
        use_mmap: bool = True,
        use_mlock: bool = False,
        kv_overrides: dict[str, bool | int | float | str] | None = None,
        seed: int = 0xFFFFFFFF,
        n_ctx: int = 512,
        n_batch: int = 512,
        n_ubatch: int = 512,
        n_threads: int | None = None,
        n_threads_batch: int | None = None,
        rope_scaling_type: int | None = -1,
        pooling_type: int = -1,
        attention_type: int = -1,
        rope_freq_base: float = 0.0,
        rope_freq_scale: float = 0.0,
        yarn_ext_factor: float = -1.0,
        yarn_attn_factor: float = 1.0,
        yarn_beta_fast: float = 32.0,
        yarn_beta_slow: float = 1.0,
        yarn_orig_ctx: int = 0,
        logits_all: bool = False,
        embedding: bool = False,
        offload_kqv: bool = True,
        flash_attn: bool = False,
        op_offload: bool | None = None,
        swa_full: bool | None = None,
        no_perf: bool = False,
        last_n_tokens_size: int = 64,
        lora_base: str | None = None,
        lora_scale: float = 1.0,
        lora_path: str | None = None,
        numa: bool | int = False,
        chat_format: str | None = None,
        chat_handler: Any = None,
        draft_model: Any = None,
        tokenizer: Any = None,
        type_k: int | None = None,
        type_v: int | None = None,
        spm_infill: bool = False,
        verbose: bool = True,
        **kwargs: Any,
    ) -> None:
        self.model_path = model_path
        self.lora_path = lora_path
        if not os.path.exists(model_path):
            raise ValueError(f"Model path does not exist: {model_path}")
        self.mapped = [_mapped(path) for path in (*_parts(model_path), *([lora_path] if lora_path else []))]

    @classmethod
    def from_pretrained(
        cls,
        repo_id: str,
        filename: str | None,
        additional_files: list[str] | None = None,
        local_dir: str | os.PathLike[str] | None = None,
        local_dir_use_symlinks: bool | str = "auto",
        cache_dir: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Llama:
        """The real one downloads with huggingface_hub first; here the repository is a folder."""
        return cls(model_path=os.path.join(repo_id, str(filename)), **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {"model_path": self.model_path, "lora_path": self.lora_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _parts(path: str) -> list[str]:
    """As `llama_split_path`: every part from the name of the first one."""
    match = _SPLIT.search(path)
    if match is None:
        return [path]
    return [f"{path[: match.start()]}-{n:05d}-of-{match[1]}.gguf" for n in range(1, int(match[1]) + 1)]


def _mapped(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
