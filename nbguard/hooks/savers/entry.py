"""What an entry for one saver says, and what each family of savers can write.

    Saver(name="torch.save", module="torch.serialization", function="save", target=("f",), family="torch")

Entries are read whenever the guard is put in place: no library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbguard.hooks.walls.names import BY_VALUE


@dataclass(frozen=True)
class Family:
    """What a load of such a file may consist of. A record of one family vouches for nothing else: the raw bytes of an
    array that numpy wrote can be another loader's archive."""

    containers: frozenset[str] = frozenset()
    """Kinds of pickle programs (`Program.container`) that these savers write."""
    code: frozenset[str] = frozenset()
    """Kinds of code (`CodeFile.kind`) that they write; `*` for whatever the format holds."""
    machinery: tuple[str, ...] = ()
    """Modules and names whose gadgets are how this saver writes functions and classes."""


def _family(containers: str = "", code: str = "", machinery: tuple[str, ...] = ()) -> Family:
    return Family(frozenset(containers.split()), frozenset(code.split()), machinery)


FAMILIES: dict[str, Family] = {
    "data": _family(),
    "pickle": _family("pickle nested"),
    "by-value": _family("pickle nested", machinery=BY_VALUE),
    "torch": _family("torch-zip torch-legacy torch-tar pickle nested"),
    "torch-export": _family("torch-zip torch-export pickle nested", "torch-export"),
    "skops": _family("", "skops"),
    "torchscript": _family("torch-zip torchscript nested", "torchscript"),
    "joblib": _family("joblib pickle nested"),
    "numpy": _family("npy npz nested"),
    "graph": _family("", "*"),
}
"""Name → what it writes. `data` is everything that holds no program: safetensors, JSON, vocabularies, trees. `by-value`
is cloudpickle and dill, which put functions and classes themselves into the pickle. `graph` is a format whose graph or
layers may hold code of their own (Keras, SavedModel, ONNX)."""


@dataclass(frozen=True, kw_only=True)
class Saver:
    """One saver. It is a Python function, reached by exchanging its code, so that early-bound names are caught."""

    name: str
    """What a person types."""
    module: str
    """Watched right after this module was imported."""
    function: str
    """`save`, `Booster.save_model`."""
    target: tuple[str, ...]
    """Parameters that may say where it goes: a path, a folder, something with `write`. The first that is given."""
    family: str = "data"
    suffix: str = ""
    """What it adds to a path that does not end so."""
    returns: bool = False
    """It writes nowhere and returns the bytes."""
    stream: bool = False
    """One pickle program, written through the `write` of an object: what passes there is what is recorded."""
