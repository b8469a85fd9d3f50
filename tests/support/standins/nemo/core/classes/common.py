"""A stand-in for `nemo.core.classes.common`, with the signatures and the steps of NeMo 2."""

from __future__ import annotations

from huggingface_hub import hf_hub_download


class Model:
    @classmethod
    def from_pretrained(
        cls,
        model_name,
        refresh_cache=False,
        override_config_path=None,
        map_location=None,
        strict=True,
        return_config=False,
        trainer=None,
        save_restore_connector=None,
        return_model_file=True,
    ):
        path = hf_hub_download(repo_id=model_name, filename=f"{model_name.rpartition('/')[2]}.nemo")
        return cls.restore_from(path, override_config_path, map_location, strict, return_config)
