"""Keras 3, and Keras 2 as `tf_keras`."""

from __future__ import annotations

from nbguard.hooks.loaders import keras_, tensorflow_
from nbguard.hooks.loaders.entry import Loader

_ENFORCED = (
    "the scanned handles; safe_mode=True unless the accepted report shows the code and the call says False; names and "
    "byte code held to the contract; no effects of Lambda layers while the model is built"
)
_SCANNED = "every class and function of the configuration, byte code, HDF5 links, storage and filters"
_WEIGHTS = "HDF5 links, storage and filters; arrays by size and place"


def _wall(library: str, module: str, guard: str, what: str) -> Loader:
    return Loader(
        name=what,
        module=f"{library}.src.{module}",
        guard=f"keras_:{guard}",
        asks_about="nothing: part of a load that was asked about",
        enforced="what the contract holds, and nothing else",
        scanned="nothing",
        group=library,
    )


LOADERS = (
    Loader(
        name="keras.saving.load_model",
        module="keras.src.saving.saving_api",
        function="load_model",
        source=("filepath",),
        opens=keras_.model_files,
        hand="staged",
        prepare=keras_.safely,
        arguments=("safe_mode", "compile"),
        asks_about="the file, the folder, or the repository",
        enforced=_ENFORCED,
        scanned=_SCANNED,
    ),
    Loader(
        name="keras.saving.load_weights",
        module="keras.src.saving.saving_api",
        function="load_weights",
        source=("filepath",),
        opens=keras_.model_files,
        hand="staged",
        arguments=("skip_mismatch",),
        asks_about="the file, and the shards that an index names",
        enforced="the scanned handles",
        scanned=_WEIGHTS,
    ),
    Loader(
        name="keras.Model.load_weights",
        module="keras.src.models.model",
        function="Model.load_weights",
        source=("filepath",),
        opens=keras_.model_files,
        hand="staged",
        arguments=("skip_mismatch",),
        asks_about="the file, and the shards that an index names",
        enforced="the scanned handles",
        scanned=_WEIGHTS,
    ),
    _wall("keras", "saving.serialization_lib", "guard_lookup", "keras: names in a configuration"),
    _wall("keras", "utils.python_utils", "guard_code", "keras: byte code of Lambda layers"),
    _wall("keras", "layers.core.lambda_layer", "guard_lambda", "keras: calls of Lambda layers"),
    Loader(
        name="tf_keras.models.load_model",
        module="tf_keras.src.saving.saving_api",
        function="load_model",
        source=("filepath",),
        opens=keras_.model_files,
        hand="staged",
        prepare=keras_.safely,
        arguments=("safe_mode", "compile"),
        asks_about="the file or the folder",
        enforced=_ENFORCED,
        scanned=_SCANNED,
    ),
    Loader(
        name="tf_keras.Model.load_weights",
        module="tf_keras.src.engine.training",
        function="Model.load_weights",
        source=("filepath",),
        opens=tensorflow_.checkpoint,
        hand="same",
        prepare=tensorflow_.staged,
        asks_about="the file, the folder, or the files of a checkpoint",
        enforced="the scanned handles",
        scanned=_WEIGHTS,
    ),
    _wall("tf_keras", "saving.serialization_lib", "guard_lookup", "tf_keras: names in a configuration"),
    _wall("tf_keras", "utils.generic_utils", "guard_code", "tf_keras: byte code of Lambda layers"),
    _wall("tf_keras", "layers.core.lambda_layer", "guard_lambda", "tf_keras: calls of Lambda layers"),
)
