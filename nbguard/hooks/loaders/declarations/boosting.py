"""Boosted trees and fastText: numbers only, read by C++ code that follows what the file says."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from nbguard.hooks.loaders.entry import Call, Loader
from nbguard.hooks.loaders.opening import file_or_bytes, in_memory

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant

_SEALED = "a sealed copy, which nobody can change between the scan and the load; the format runs no code"
_MEMORY = "the scanned bytes, from memory; the format runs no code"
_TREES = "every tree, child, feature, category and length in it: what leads nowhere is refused"


def _model_or_buffer(call: Call) -> Opened | None:
    """xgboost lets `~` stand for the home folder, and takes memory as `bytearray` only."""
    source = call.source
    if isinstance(source, str | os.PathLike):
        call.set(call.name, os.path.expanduser(os.fspath(source)))
        return file_or_bytes(call)
    if not isinstance(source, bytearray) or _handed_over(source):
        return None
    return file_or_bytes(call)


def _handed_over(data: bytearray) -> bool:
    """Whether these are the bytes that the load around this one was granted: `Booster(model_file=…)` hands them on."""
    from nbguard.hooks import grants

    outer = grants.current()
    digest = hashlib.sha256(data).hexdigest() if outer is not None and outer.grants else ""
    return outer is not None and any(f.sha256 == digest for g in outer.grants for f in g.report.files)


def _from_memory(call: Call, grant: Grant) -> None:
    """xgboost resolves links before it opens a file, which a handle does not survive: it gets the bytes themselves."""
    from nbguard.hooks.loaders.scanned import scanned_file

    call.set(call.name, bytearray(scanned_file(call, grant).read()))


def _text_or_file(call: Call) -> Opened | None:
    """lightgbm: a text is the model itself. Its own copies and workers hand over texts that they wrote themselves."""
    if call.name != "model_str":
        return file_or_bytes(call)
    return in_memory(call) if call.who.kind == "person" else None


LOADERS = (
    Loader(
        name="xgboost.Booster.load_model",
        module="xgboost.core",
        function="Booster.load_model",
        source=("fname",),
        opens=_model_or_buffer,
        prepare=_from_memory,
        hand="same",
        asks_about="the JSON, UBJSON or binary file, or the buffer",
        enforced=_MEMORY,
        scanned=_TREES,
    ),
    Loader(
        name="xgboost.Booster",
        module="xgboost.core",
        function="Booster.__init__",
        source=("model_file",),
        opens=_model_or_buffer,
        prepare=_from_memory,
        hand="same",
        asks_about="the file or buffer given as `model_file`",
        enforced=_MEMORY,
        scanned=_TREES,
    ),
    Loader(
        name="xgboost.XGBModel.load_model",
        module="xgboost.sklearn",
        function="XGBModel.load_model",
        source=("fname",),
        opens=_model_or_buffer,
        prepare=_from_memory,
        hand="same",
        asks_about="the JSON, UBJSON or binary file, or the buffer",
        enforced=_MEMORY,
        scanned=_TREES,
    ),
    Loader(
        name="lightgbm.Booster",
        module="lightgbm.basic",
        function="Booster.__init__",
        source=("model_file", "model_str"),
        opens=_text_or_file,
        hand="sealed",
        asks_about="the file given as `model_file`, or the text given as `model_str`",
        enforced=_SEALED,
        scanned=_TREES,
    ),
    Loader(
        name="lightgbm.Booster.model_from_string",
        module="lightgbm.basic",
        function="Booster.model_from_string",
        source=("model_str",),
        opens=_text_or_file,
        hand="sealed",
        asks_about="the text",
        enforced=_SEALED,
        scanned=_TREES,
    ),
    Loader(
        name="lightgbm.train",
        module="lightgbm.basic",
        function="_InnerPredictor.from_model_file",
        source=("model_file",),
        hand="sealed",
        asks_about="the file given as `init_model`: where it does not hold together, training does not begin",
        enforced=_SEALED,
        scanned=_TREES,
    ),
    Loader(
        name="catboost.CatBoost.load_model",
        module="catboost.core",
        function="CatBoost.load_model",
        source=("fname", "stream", "blob"),
        hand="sealed",
        arguments=("format",),
        asks_about="the `.cbm` or JSON file, the stream or the bytes",
        enforced=_SEALED,
        scanned=f"{_TREES}; the parts for text and embeddings are only listed",
    ),
    Loader(
        name="fasttext.load_model",
        module="fasttext.FastText",
        function="load_model",
        source=("path",),
        asks_about="the `.bin` or `.ftz` file",
        enforced="read through the handle that was scanned; the format runs no code",
        scanned="the dictionary, and the size of every matrix to the last byte; the numbers by length and place",
    ),
    Loader(
        name="fasttext.FastText",
        module="fasttext.FastText",
        function="_FastText.__init__",
        source=("model_path",),
        asks_about="the `.bin` or `.ftz` file",
        enforced="read through the handle that was scanned; the format runs no code",
        scanned="the dictionary, and the size of every matrix to the last byte; the numbers by length and place",
    ),
)
