"""A stand-in for `speechbrain.inference.interfaces`, with the signatures and the steps of SpeechBrain 1.0."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from hyperpyyaml import load_hyperpyyaml

from speechbrain.utils.superpowers import import_from_path


def fetch(filename, source, savedir, revision=None):
    if os.path.isdir(source):
        found = Path(source) / filename
        if not found.exists():
            raise ValueError(f"File not found: {found}")
    else:
        try:
            found = Path(hf_hub_download(repo_id=source, filename=filename, revision=revision))
        except OSError as error:
            raise ValueError("File not found on HF hub") from error
    if savedir is None:
        return found
    Path(savedir).mkdir(parents=True, exist_ok=True)
    link = Path(savedir) / filename
    if link.is_symlink():
        link.unlink()
    link.symlink_to(found.resolve())
    return link


def foreign_class(
    source,
    hparams_file="hyperparams.yaml",
    pymodule_file="custom.py",
    classname="CustomInterface",
    overrides={},  # noqa: B006 - as in the library
    overrides_must_match=True,
    savedir=None,
    use_auth_token=False,
    download_only=False,
    huggingface_cache_dir=None,
    **kwargs,
):
    hparams_path = fetch(hparams_file, source, savedir)
    pymodule_path = fetch(pymodule_file, source, savedir)
    sys.path.append(str(pymodule_path.parent))
    with open(hparams_path) as fin:
        hparams = load_hyperpyyaml(fin, overrides, overrides_must_match)
    module = import_from_path(pymodule_path)
    return getattr(module, classname)(modules=hparams["modules"], hparams=hparams, **kwargs)


class Pretrained:
    def __init__(self, modules=None, hparams=None, run_opts=None, freeze_params=True):
        self.modules, self.hparams = modules, hparams

    @classmethod
    def from_hparams(
        cls,
        source,
        hparams_file="hyperparams.yaml",
        pymodule_file="custom.py",
        overrides={},  # noqa: B006 - as in the library
        overrides_must_match=True,
        savedir=None,
        use_auth_token=False,
        revision=None,
        download_only=False,
        huggingface_cache_dir=None,
        **kwargs,
    ):
        hparams_path = fetch(hparams_file, source, savedir, revision)
        try:
            pymodule_path = fetch(pymodule_file, source, savedir, revision)
            sys.path.append(str(pymodule_path.parent))
        except ValueError:
            pass  # not every model has code of its own
        with open(hparams_path) as fin:
            hparams = load_hyperpyyaml(fin, overrides, overrides_must_match)
        for name, file in hparams.get("checkpoints", {}).items():
            state = torch.load(fetch(file, source, savedir, revision), map_location="cpu", weights_only=False)
            hparams["modules"][name].load_state_dict(state)
        return cls(hparams["modules"], hparams, **kwargs)
