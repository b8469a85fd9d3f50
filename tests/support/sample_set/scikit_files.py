"""skops, NumPy's arrays, shelves, spaCy's configuration: what their writers make, and what runs or leads elsewhere."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_set import COMMAND, Sample, written


class Runs:
    """A pickle of it runs `COMMAND`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (COMMAND,)


def model() -> bytes:
    import numpy as np
    import skops.io
    from sklearn.linear_model import LogisticRegression

    features = np.arange(20.0).reshape(10, 2)
    return bytes(skops.io.dumps(LogisticRegression().fit(features, [0, 1] * 5)))


def values() -> bytes:
    import numpy as np
    import skops.io

    return bytes(skops.io.dumps({"a": [1, 2.5, None, "x"], "n": np.arange(5), "t": (1, (2,))}))


def node(loader: str, dotted: str, **more: Any) -> dict[str, Any]:
    module, _, name = dotted.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def plain(value: str) -> dict[str, Any]:
    return node("JsonNode", "builtins.str", content=json.dumps(value))


def archive(schema: dict[str, Any], **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
        made.writestr("schema.json", json.dumps({**schema, "protocol": 2, "_skops_version": "0.12.0"}))
    return out.getvalue()


def shell() -> bytes:
    arguments = node("TupleNode", "builtins.tuple", content=[plain(COMMAND)])
    return archive(node("ConstructorFromReduceNode", "os.system", content=arguments))


def caller() -> bytes:
    names = node("TupleNode", "builtins.tuple", content=[plain("system"), plain(COMMAND)])
    return archive(node("OperatorFuncNode", "operator.methodcaller", attrs=names))


def array(objects: bool = False) -> bytes:
    import numpy as np

    out = io.BytesIO()
    made = np.array([1, Runs()], dtype=object) if objects else np.arange(12.0).reshape(3, 4)
    np.save(out, made, allow_pickle=True)
    return out.getvalue()


def shelf(*kept: Any) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        import dbm.dumb
        import shelve

        with shelve.Shelf(dbm.dumb.open(str(folder / "values"), "n")) as made:
            for number, value in enumerate(kept):
                made[str(number)] = value
        return folder / "values.dat"

    return build


def shelf_folder(folder: Path) -> Path:
    """The value that runs something is not where a value begins; the list says that it is one."""
    shelf([b"." * 20, pickle.dumps(Runs())])(folder)
    return folder


def spacy_config(change: tuple[str, str] = ("", "")) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        import spacy

        made = spacy.blank("en")
        made.add_pipe("sentencizer")
        text = made.config.to_str()
        assert change[0] in text
        (folder / "config.cfg").write_text(text.replace(*change, 1))
        return folder / "config.cfg"

    return build


TOKENIZER = '@tokenizers = "spacy.Tokenizer.v1"'
SHAPE = b"'shape': (3, 4)"
SAMPLES = (
    Sample("skops/model", "skops", written("m.skops", model), ("review",), honest=True, needs=("skops", "sklearn")),
    Sample("skops/values", "skops", written("m.skops", values), ("safe",), honest=True, needs=("skops",)),
    Sample(
        "skops/shell",
        "skops",
        written("m.skops", shell),
        ("danger",),
        trick="A node that stands for a call of a shell.",
    ),
    Sample(
        "skops/caller",
        "skops",
        written("m.skops", caller),
        ("danger",),
        trick="A node that calls a method by its name.",
    ),
    Sample(
        "skops/pickle-as-an-array",
        "skops",
        written(
            "m.skops", lambda: archive(node("ListNode", "builtins.list", content=[]), **{"a.npy": pickle.dumps(Runs())})
        ),
        ("danger",),
        trick="A pickle under the name of an array.",
    ),
    Sample("npy/numbers", "npy", written("m.npy", array), ("safe",), honest=True, needs=("numpy",)),
    Sample(
        "npy/objects",
        "npy",
        written("m.npy", lambda: array(True)),
        ("danger",),
        needs=("numpy",),
        trick="An array of objects, which are a pickle.",
    ),
    Sample(
        "npy/shape-lies",
        "npy",
        written("m.npy", lambda: array().replace(SHAPE, b"'shape': (3, 9)")),
        ("unverifiable",),
        needs=("numpy",),
        trick="The header says more numbers than there are.",
    ),
    Sample(
        "npy/header-runs-on",
        "npy",
        written("m.npy", lambda: b"\x93NUMPY\x02\0" + b"\xff\xff\xff\x7f{"),
        ("unverifiable",),
        trick="The header says a length that leads out of the file.",
    ),
    Sample("shelf/plain", "shelf", shelf([1], list(range(2000)), "x"), ("unverifiable",), honest=True),
    Sample(
        "shelf/second-value",
        "shelf",
        shelf([1], Runs()),
        ("danger",),
        trick="The second value runs a program; a reader of pickles stops behind the first.",
    ),
    Sample(
        "shelf/within-a-value",
        "shelf",
        shelf_folder,
        ("danger", "unverifiable"),
        trick="The value that runs a program lies within another one.",
    ),
    Sample("spacy-config/blank", "spacy-config", spacy_config(), ("safe",), honest=True, needs=("spacy",)),
    Sample(
        "spacy-config/tokenizer",
        "spacy-config",
        spacy_config((TOKENIZER, '@tokenizers = "evil.Tokenizer.v1"')),
        ("review",),
        rule="spacy.registered",
        needs=("spacy",),
        trick="A tokenizer that another package registered.",
    ),
    Sample(
        "spacy-config/source",
        "spacy-config",
        spacy_config(("[components.sentencizer]\n", '[components.sentencizer]\nsource = "another_pipeline"\n')),
        ("review",),
        rule="spacy.source",
        needs=("spacy",),
        trick="A component that is taken from another pipeline.",
    ),
)
