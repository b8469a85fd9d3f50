"""The savers, one entry each. A newcomer adds a line.

from nbguard.hooks.savers.declarations import SAVERS
"""

from __future__ import annotations

from nbguard.hooks.savers.entry import Saver

_FOLDER = ("save_directory",)

SAVERS: tuple[Saver, ...] = (
    Saver(name="torch.save", module="torch.serialization", function="save", target=("f",), family="torch"),
    Saver(
        name="torch.jit.save",
        module="torch.jit._serialization",
        function="save",
        target=("f",),
        family="torchscript",
    ),
    Saver(
        name="ScriptModule.save",
        module="torch.jit._script",
        function="RecursiveScriptModule.save",
        target=("f",),
        family="torchscript",
    ),
    Saver(name="torch.export.save", module="torch.export", function="save", target=("f",), family="torch-export"),
    Saver(name="joblib.dump", module="joblib.numpy_pickle", function="dump", target=("filename",), family="joblib"),
    Saver(name="dill.dump", module="dill._dill", function="dump", target=("file",), family="by-value", stream=True),
    Saver(name="dill.dumps", module="dill._dill", function="dumps", target=(), family="by-value", returns=True),
    Saver(
        name="cloudpickle.dump",
        module="cloudpickle.cloudpickle",
        function="dump",
        target=("file",),
        family="by-value",
        stream=True,
    ),
    Saver(
        name="cloudpickle.dumps",
        module="cloudpickle.cloudpickle",
        function="dumps",
        target=(),
        family="by-value",
        returns=True,
    ),
    Saver(
        name="numpy.save",
        module="numpy.lib._npyio_impl",
        function="save",
        target=("file",),
        family="numpy",
        suffix=".npy",
    ),
    Saver(
        name="numpy.savez",
        module="numpy.lib._npyio_impl",
        function="savez",
        target=("file",),
        family="numpy",
        suffix=".npz",
    ),
    Saver(
        name="numpy.savez_compressed",
        module="numpy.lib._npyio_impl",
        function="savez_compressed",
        target=("file",),
        family="numpy",
        suffix=".npz",
    ),
    Saver(
        name="DataFrame.to_pickle",
        module="pandas.io.pickle",
        function="to_pickle",
        target=("filepath_or_buffer",),
        family="pickle",
    ),
    Saver(name="safetensors.torch.save_file", module="safetensors.torch", function="save_file", target=("filename",)),
    Saver(name="safetensors.numpy.save_file", module="safetensors.numpy", function="save_file", target=("filename",)),
    Saver(
        name="save_pretrained",
        module="transformers.modeling_utils",
        function="PreTrainedModel.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.configuration_utils",
        function="PreTrainedConfig.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.tokenization_utils_base",
        function="PreTrainedTokenizerBase.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.processing_utils",
        function="ProcessorMixin.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.feature_extraction_utils",
        function="FeatureExtractionMixin.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.image_processing_base",
        function="ImageProcessingMixin.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="transformers.generation.configuration_utils",
        function="GenerationConfig.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="Trainer.save_state",
        module="transformers.trainer_callback",
        function="TrainerState.save_to_json",
        target=("json_path",),
    ),
    Saver(
        name="Trainer.save_model",
        module="transformers.trainer",
        function="Trainer._save",
        target=("output_dir",),
    ),
    Saver(
        name="save_pretrained",
        module="diffusers.models.modeling_utils",
        function="ModelMixin.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="diffusers.pipelines.pipeline_utils",
        function="DiffusionPipeline.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_config",
        module="diffusers.configuration_utils",
        function="ConfigMixin.save_config",
        target=_FOLDER,
    ),
    Saver(name="save_pretrained", module="peft.peft_model", function="PeftModel.save_pretrained", target=_FOLDER),
    Saver(name="save_pretrained", module="peft.config", function="PeftConfigMixin.save_pretrained", target=_FOLDER),
    Saver(
        name="save_pretrained",
        module="huggingface_hub.hub_mixin",
        function="ModelHubMixin.save_pretrained",
        target=_FOLDER,
    ),
    Saver(
        name="save_pretrained",
        module="sentence_transformers.base.model",
        function="BaseModel.save_pretrained",
        target=("path",),
    ),
    Saver(
        name="SentenceTransformer.save",
        module="sentence_transformers.base.model",
        function="BaseModel.save",
        target=("path",),
    ),
    Saver(
        name="keras.Model.save",
        module="keras.src.saving.saving_api",
        function="save_model",
        target=("filepath",),
        family="graph",
    ),
    Saver(
        name="keras.Model.save_weights",
        module="keras.src.saving.saving_api",
        function="save_weights",
        target=("filepath",),
        family="graph",
    ),
    Saver(
        name="tf.saved_model.save",
        module="tensorflow.python.saved_model.save",
        function="save",
        target=("export_dir",),
        family="graph",
    ),
    Saver(name="xgboost.Booster.save_model", module="xgboost.core", function="Booster.save_model", target=("fname",)),
    Saver(
        name="lightgbm.Booster.save_model",
        module="lightgbm.basic",
        function="Booster.save_model",
        target=("filename",),
    ),
    Saver(name="catboost.save_model", module="catboost.core", function="CatBoost.save_model", target=("fname",)),
    Saver(name="skops.io.dump", module="skops.io._persist", function="dump", target=("file",), family="skops"),
    Saver(name="onnx.save", module="onnx", function="save_model", target=("f",), family="graph"),
)
