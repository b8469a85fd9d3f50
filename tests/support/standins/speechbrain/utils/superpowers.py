"""A stand-in for `speechbrain.utils.superpowers`, of SpeechBrain 1.0."""

from __future__ import annotations

import importlib.util
import os


def import_from_path(path):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
