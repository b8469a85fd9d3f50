"""The names under which loaders are written in source, and which argument says what they load.

    functions()["torch.load"].parameter       # "f"
    methods()["load_model"].parameter         # "fname": of any object; its class is not known from the source

Those of the declarative table are taken from there; those that need a guard of their own are listed here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbguard.hooks.loaders.entry import Loader


@dataclass(frozen=True)
class Named:
    """One loader, as it is called."""

    loader: str
    """The public name, as reports and the audit log have it."""
    parameter: str
    """Of the argument that names what is loaded."""
    position: int = 0
    hub: bool = False
    """Whether that may be a repository of the Hub."""
    entry: Loader | None = None
    """Its declarative entry, where it has one that says which files it opens."""


_LISTED = (
    Named("torch.load", "f"),
    Named("torch.jit.load", "f"),
    Named("pickle.load", "file"),
    Named("pickle.Unpickler", "file"),
    Named("joblib.load", "filename"),
    Named("numpy.load", "file"),
    Named("pandas.read_pickle", "filepath_or_buffer"),
    Named("dill.load", "file"),
    Named("cloudpickle.load", "file"),
    Named("transformers.pipeline", "model", 1, hub=True),
    Named("nbguard.load_transformers", "model_id", hub=True),
    Named("sentence_transformers.SentenceTransformer", "model_name_or_path", hub=True),
    Named("sentence_transformers.CrossEncoder", "model_name_or_path", hub=True),
    Named("sentence_transformers.SparseEncoder", "model_name_or_path", hub=True),
    Named("skops.io.load", "file"),
    Named("peft.load_peft_weights", "model_id", hub=True),
    Named("timm.create_model", "model_name", hub=True),
    Named("timm.models.load_checkpoint", "checkpoint_path", 1),
    Named("torch.hub.load", "repo_or_dir"),
    Named("torch.hub.load_state_dict_from_url", "url"),
    Named("shelve.open", "filename"),
)
_ALSO = {
    "torch.serialization.load": "torch.load",
    "torch.jit._serialization.load": "torch.jit.load",
    "joblib.numpy_pickle.load": "joblib.load",
    "numpy.lib._npyio_impl.load": "numpy.load",
    "numpy.lib.npyio.load": "numpy.load",
    "pandas.io.pickle.read_pickle": "pandas.read_pickle",
    "dill._dill.load": "dill.load",
    "_pickle.load": "pickle.load",
    "_pickle.Unpickler": "pickle.Unpickler",
    "transformers.pipelines.pipeline": "transformers.pipeline",
    "onnx.load_model": "onnx.load",
    "keras.models.load_model": "keras.saving.load_model",
    "tensorflow.keras.models.load_model": "keras.saving.load_model",
    "tf.keras.models.load_model": "keras.saving.load_model",
    "keras.load_model": "keras.saving.load_model",
    "skops.io._persist.load": "skops.io.load",
    "peft.utils.save_and_load.load_peft_weights": "peft.load_peft_weights",
    "timm.models._factory.create_model": "timm.create_model",
    "timm.models.create_model": "timm.create_model",
}
"""Other names of the same functions: where they say that they were defined, and where libraries show them too."""
_IN_MEMORY = frozenset({"bytes", "data", "s", "model_str", "blob", "stream"})
"""Parameters that take the model itself; an argument for one of them names nothing."""
PRETRAINED = "pretrained_model_name_or_path"
FROM_PRETRAINED = Named("from_pretrained", PRETRAINED, hub=True)
_PRETRAINED_METHODS = {
    "from_single_file": Named("from_single_file", "pretrained_model_link_or_path"),
    "load_lora_weights": Named("load_lora_weights", "pretrained_model_name_or_path_or_dict", hub=True),
    "load_textual_inversion": Named("load_textual_inversion", "pretrained_model_name_or_path", hub=True),
    "load_ip_adapter": Named("load_ip_adapter", "pretrained_model_name_or_path_or_dict", hub=True),
    "load_adapter": Named("load_adapter", "peft_model_id", hub=True),
    "from_hparams": Named("from_hparams", "source", hub=True),
}
_TELLING = re.compile(r"load|restore_from")
"""What a method's name has to hold: others (`read`, `restore`) are those of every file and dictionary, too."""
PREFIXES = ("hf-hub:", "hf_hub:", "local-dir:", "local_dir:")
"""What timm writes before a repository or a folder; a name without one is a model of its own."""


@functools.cache
def functions() -> Mapping[str, Named]:
    """Dotted name → loader."""
    from nbguard.hooks.loaders import table

    found = {named.loader: named for named in _LISTED}
    for entry in table():
        named = _of(entry)
        if named is None or _method(entry):
            continue
        home = entry.function.removesuffix(".__init__")
        for name in (entry.name, f"{entry.module}.{home}"):
            found.setdefault(name, named)
    for name, public in _ALSO.items():
        if public in found:
            found.setdefault(name, found[public])
    return MappingProxyType(found)


@functools.cache
def methods() -> Mapping[str, Named]:
    """Method → loader, for what is called on objects whose class the source does not tell."""
    from nbguard.hooks.loaders import table

    found = dict(_PRETRAINED_METHODS)
    for entry in table():
        named = _of(entry)
        if named is not None and (method := _method(entry)) and _TELLING.search(method):
            found.setdefault(method, Named(method, named.parameter, named.position))
    return MappingProxyType(found)


def _of(entry: Loader) -> Named | None:
    parameter = next((p for p in entry.source if p not in _IN_MEMORY), "")
    if not parameter or (entry.guard and not entry.function):
        return None
    names = [name.rstrip("=") for name in entry.signature if name != "self"]
    position = names.index(parameter) if parameter in names else _position(entry, parameter)
    return Named(entry.name, parameter, position, entry=entry)


def _position(entry: Loader, parameter: str) -> int:
    """By what is usual: the first one, but for constructors that take something else before it."""
    return {"model_file": 99}.get(parameter, 0) if entry.function.endswith(".__init__") else 0


def _method(entry: Loader) -> str:
    """The method's name, where the loader is one of a class (`Booster.load_model`)."""
    owner, dot, name = entry.function.rpartition(".")
    return name if dot and owner.rpartition(".")[2][:1].isupper() and not name.startswith("_") else ""
