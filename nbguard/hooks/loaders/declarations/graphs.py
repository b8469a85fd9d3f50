"""Models that are graphs: ONNX with data files beside them, and programs that PyTorch exported or compiled."""

from __future__ import annotations

from nbguard.hooks.loaders import onnx_, torch_export_
from nbguard.hooks.loaders.entry import Loader
from nbguard.hooks.loaders.opening import not_installed

_GRAPH = "operators and their libraries, tensors by size and place, where data files lie"
_PROGRAM = "the graph: operators, names, sizes and conditions that torch makes code of; compiled libraries are danger"

LOADERS = (
    Loader(
        name="onnx.load",
        module="onnx",
        function="load_model",
        source=("f",),
        opens=onnx_.model,
        prepare=onnx_.without_data,
        finish=onnx_.with_data,
        arguments=("format", "load_external_data"),
        asks_about="the model and the data files that it names",
        enforced="the scanned bytes; data files are read through their scanned handles, onnx opens none by itself",
        scanned=_GRAPH,
    ),
    Loader(
        name="onnx.load_from_string",
        module="onnx",
        function="load_model_from_string",
        source=("s",),
        opens=onnx_.text_or_bytes,
        hand="bytes",
        prepare=onnx_.in_binary,
        arguments=("format",),
        asks_about="the bytes",
        enforced="the scanned bytes",
        scanned=_GRAPH,
    ),
    Loader(
        name="onnx.load_external_data_for_model",
        module="onnx.external_data_helper",
        function="load_external_data_for_model",
        source=("model",),
        opens=onnx_.data_of_model,
        hand="same",
        prepare=onnx_.filled,
        asks_about="the data files of a model that is in memory",
        enforced="data files are read through their scanned handles, onnx opens none by itself",
        scanned=_GRAPH,
    ),
    Loader(
        name="onnxruntime.InferenceSession",
        module="onnxruntime.capi.onnxruntime_inference_collection",
        function="InferenceSession.__init__",
        source=("path_or_bytes",),
        opens=onnx_.session_model,
        hand="same",
        prepare=onnx_.session_data,
        finish=onnx_.session_kept,
        arguments=("providers",),
        asks_about="the model and the data files that it names",
        enforced="the scanned handle; data files in memory, or a private copy where session options are given",
        scanned=f"{_GRAPH}; the same in ONNX Runtime's own format (.ort)",
    ),
    Loader(
        name="onnxruntime.SessionOptions.register_custom_ops_library",
        module="onnxruntime.capi.onnxruntime_pybind11_state",
        function="SessionOptions.register_custom_ops_library",
        source=("library_path",),
        signature=("self", "library_path"),
        opens=not_installed,
        hand="sealed",
        asks_about="the library, where it belongs to no installed package",
        enforced="a sealed copy of the accepted library",
        scanned="nothing: machine code cannot be judged",
    ),
    Loader(
        name="onnxruntime.register_execution_provider_library",
        module="onnxruntime",
        function="register_execution_provider_library",
        source=("library_path",),
        signature=("registration_name", "library_path"),
        opens=not_installed,
        hand="sealed",
        asks_about="the library, where it belongs to no installed package",
        enforced="a sealed copy of the accepted library",
        scanned="nothing: machine code cannot be judged",
    ),
    Loader(
        name="torch.export.load",
        module="torch.export",
        function="load",
        source=("f",),
        hand="sealed",
        prepare=torch_export_.held,
        finish=torch_export_.looked_at,
        enforced="a sealed copy, scanned as such; the pickles in it as torch.load; code that torch makes of it has no "
        "effects while it loads",
        scanned=_PROGRAM,
    ),
    Loader(
        name="torch.export.pt2_archive.load_pt2",
        module="torch.export.pt2_archive._package",
        function="load_pt2",
        source=("f",),
        hand="sealed",
        prepare=torch_export_.held,
        finish=torch_export_.looked_at,
        enforced="a sealed copy, scanned as such; the pickles in it as torch.load; code that torch makes of it has no "
        "effects while it loads",
        scanned=_PROGRAM,
    ),
    Loader(
        name="torch._inductor.aoti_load_package",
        module="torch._inductor.package.package",
        function="load_package",
        source=("path",),
        hand="sealed",
        prepare=torch_export_.held,
        finish=torch_export_.looked_at,
        enforced="a sealed copy of the accepted libraries; what they do is theirs",
        scanned="nothing: machine code cannot be judged, and is danger",
    ),
)
