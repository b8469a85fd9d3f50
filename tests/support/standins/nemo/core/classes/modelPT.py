# ruff: noqa: N999 - the library's own name
"""A stand-in for `nemo.core.classes.modelPT`, with the signatures and the steps of NeMo 2."""

from __future__ import annotations

import importlib
import os
import tarfile
import tempfile

import torch
from omegaconf import OmegaConf

from nemo.core.classes.common import Model


class ModelPT(torch.nn.Module, Model):
    def __init__(self, cfg=None, trainer=None):
        super().__init__()
        module, _, name = cfg.encoder["_target_"].rpartition(".")
        self.encoder = getattr(importlib.import_module(module), name)(*cfg.encoder["args"])

    @classmethod
    def restore_from(
        cls,
        restore_path,
        override_config_path=None,
        map_location=None,
        strict=True,
        return_config=False,
        save_restore_connector=None,
        trainer=None,
        validate_access_integrity=True,
    ):
        if not os.path.exists(restore_path):
            raise FileNotFoundError(f"Can't find {restore_path}")
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(restore_path, "r:*") as archive:
                archive.extractall(folder, filter="data")
            config = OmegaConf.load(os.path.join(folder, "model_config.yaml"))
            if return_config:
                return config
            model = cls(config, trainer)
            weights = torch.load(os.path.join(folder, "model_weights.ckpt"), map_location="cpu", weights_only=False)
            model.load_state_dict(weights, strict=strict)
            return model
