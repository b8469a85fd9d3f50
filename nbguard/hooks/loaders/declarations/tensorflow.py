"""TensorFlow: SavedModels, graphs, TensorFlow Lite, and libraries of operations."""

from __future__ import annotations

from nbguard.hooks.loaders import tensorflow_
from nbguard.hooks.loaders.entry import Loader

_GRAPH = "every operation and function of the graph, the paths it opens, assets; variables by size and place"
_SEALED = "the graph and the assets from sealed copies of what was scanned, variables through their scanned handles"
_MAPPED = "a sealed copy: the runtime maps the file and reads it for as long as the model lives"
_LITE = "operations and their definitions, every index, tensors by size and place"
_NATIVE = "a sealed copy of the library that was accepted"


def _lite(package: str, tested: bool) -> tuple[Loader, ...]:
    name = "tf.lite" if package == "tensorflow.lite.python" else package
    return (
        Loader(
            name=f"{name}.Interpreter",
            module=f"{package}.interpreter",
            function="Interpreter.__init__",
            source=("model_path", "model_content"),
            hand="sealed",
            arguments=("experimental_delegates",),
            asks_about="the file or the bytes",
            enforced=_MAPPED,
            scanned=_LITE,
            group="tensorflow",
            tested="library" if tested else "stand-in",
        ),
        Loader(
            name=f"{name}.experimental.load_delegate",
            module=f"{package}.interpreter",
            function="load_delegate",
            source=("library",),
            opens=tensorflow_.library,
            hand="sealed",
            asks_about="the native library",
            enforced=_NATIVE,
            scanned="nothing: machine code",
            group="tensorflow",
            tested="library" if tested else "stand-in",
        ),
    )


def _compiled(function: str, source: str, asks_about: str) -> Loader:
    return Loader(
        name=f"ai_edge_litert.CompiledModel.{function}",
        module="ai_edge_litert.compiled_model",
        function=f"CompiledModel.{function}",
        source=(source,),
        hand="sealed",
        asks_about=asks_about,
        enforced=_MAPPED,
        scanned=_LITE,
        group="tensorflow",
    )


def _checkpoint(function: str) -> Loader:
    return Loader(
        name=f"tf.train.Checkpoint.{function}",
        module="tensorflow.python.checkpoint.checkpoint",
        function=f"Checkpoint.{function}",
        source=("save_path",),
        opens=tensorflow_.checkpoint,
        hand="same",
        passes_library=True,
        asks_about="the index and the data files",
        enforced="nothing more than the answer: the values are numbers, and some are read later",
        scanned="the index: names, types, places; values that only their own operations read",
        group="tensorflow",
    )


LOADERS = (
    _checkpoint("restore"),
    _checkpoint("read"),
    Loader(
        name="tf.saved_model.load",
        module="tensorflow.python.saved_model.load",
        function="load",
        source=("export_dir",),
        opens=tensorflow_.saved_model,
        hand="staged",
        finish=tensorflow_.kept,
        arguments=("tags",),
        asks_about="the folder",
        enforced=_SEALED,
        scanned=_GRAPH,
        group="tensorflow",
    ),
    Loader(
        name="tf.compat.v1.saved_model.load",
        module="tensorflow.python.saved_model.loader_impl",
        function="load",
        source=("export_dir",),
        opens=tensorflow_.saved_model,
        hand="staged",
        arguments=("tags",),
        asks_about="the folder",
        enforced=_SEALED,
        scanned=_GRAPH,
        group="tensorflow",
    ),
    Loader(
        name="keras.layers.TFSMLayer",
        module="keras.src.export.tfsm_layer",
        function="TFSMLayer.__init__",
        source=("filepath",),
        opens=tensorflow_.saved_model,
        hand="same",
        asks_about="the folder",
        enforced="tf.saved_model.load beneath it is held to the same graph",
        scanned=_GRAPH,
    ),
    Loader(
        name="tf.graph_util.import_graph_def",
        module="tensorflow.python.framework.importer",
        function="import_graph_def",
        source=("graph_def",),
        opens=tensorflow_.graph,
        hand="same",
        passes_library=True,
        asks_about="the graph, as it is in memory",
        enforced="nothing more than the answer: the graph is in memory already",
        scanned="every operation and function of the graph, the paths it opens",
        group="tensorflow",
    ),
    *_lite("tensorflow.lite.python", tested=True),
    *_lite("tflite_runtime", tested=False),
    *_lite("ai_edge_litert", tested=True),
    _compiled("from_file", "model_path", "the file"),
    _compiled("from_buffer", "model_data", "the bytes"),
    Loader(
        name="tf.load_op_library",
        module="tensorflow.python.framework.load_library",
        function="load_op_library",
        source=("library_filename",),
        opens=tensorflow_.library,
        hand="sealed",
        passes_library=True,
        asks_about="the native library",
        enforced=_NATIVE,
        scanned="nothing: machine code",
        group="tensorflow",
    ),
    Loader(
        name="tf.load_library",
        module="tensorflow.python.framework.load_library",
        function="load_library",
        source=("library_location",),
        opens=tensorflow_.library,
        hand="sealed",
        passes_library=True,
        asks_about="the native library, or the folder of them",
        enforced=_NATIVE,
        scanned="nothing: machine code",
        group="tensorflow",
    ),
)
