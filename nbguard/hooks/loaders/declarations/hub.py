"""Libraries that load whole repositories: huggingface_hub, peft, sentence-transformers, diffusers, timm."""

from __future__ import annotations

from nbguard.hooks.loaders.entry import Loader

_PINNED = "the pinned commit; safetensors and `torch.load` as by themselves; whatever else is fetched is scanned first"
_TEXTS = "configurations, tokenizers, tensor tables and layouts"


def _entry(name: str, module: str, guard: str, *, group: str, asks_about: str, enforced: str = _PINNED) -> Loader:
    return Loader(
        name=name, module=module, guard=guard, group=group, asks_about=asks_about, enforced=enforced, scanned=_TEXTS
    )


_NAMED = "; class names of the configurations lead to network modules only"


def _sentence(name: str, module: str) -> Loader:
    return _entry(
        name,
        module,
        "sentence_:guard",
        group="sentence-transformers",
        asks_about="every module that modules.json lists, with its weights, at one commit",
        enforced=_PINNED + _NAMED,
    )


_HELD = "; classes of the configuration are judged by name, code runs only from the scanned bytes"


def _diffusers(name: str, asks_about: str) -> Loader:
    return _entry(
        name, "diffusers", "diffusers_:guard", group="diffusers", asks_about=asks_about, enforced=_PINNED + _HELD
    )


def _timm(name: str, module: str, guard: str, asks_about: str) -> Loader:
    return _entry(f"timm.{name}", f"timm.models.{module}", f"timm_:{guard}", group="timm", asks_about=asks_about)


LOADERS = (
    _timm("create_model", "_factory", "guard_factory", "config.json and the weights of a Hub's repository or a folder"),
    _timm("models.load_checkpoint", "_helpers", "guard_files", "the file"),
    _timm("models.load_state_dict", "_helpers", "guard_files", "the file"),
    _timm("models.resume_checkpoint", "_helpers", "guard_files", "the file"),
    _timm("models.load_state_dict_from_hf", "_hub", "guard_hub", "the weights, at one commit"),
    _timm("models.load_model_config_from_hf", "_hub", "guard_hub", "config.json, at one commit"),
    _timm("models.load_state_dict_from_path", "_hub", "guard_hub", "the file that it takes of a folder"),
    _diffusers(
        "DiffusionPipeline.from_pretrained",
        "model_index.json, every component that is not handed in, custom and community pipeline code",
    ),
    _diffusers("AutoPipelineForText2Image.from_pretrained", "the same"),
    _diffusers("DiffusionPipeline.from_single_file", "the checkpoint, and the configurations that it needs"),
    _diffusers("ModelMixin.from_pretrained", "the component's configuration and weights"),
    _diffusers("ModelMixin.from_single_file", "the checkpoint, and the configurations that it needs"),
    _diffusers("SchedulerMixin.from_pretrained", "the configuration"),
    _diffusers("load_lora_weights", "the file that it opens"),
    _diffusers("load_ip_adapter", "each file that it opens, and the image encoder"),
    _diffusers("load_textual_inversion", "each file that it opens"),
    _diffusers("load_attn_procs", "the file that it opens"),
    _sentence("SentenceTransformer", "sentence_transformers.base.model"),
    _sentence("SentenceTransformer", "sentence_transformers.sentence_transformer.model"),
    _sentence("SentenceTransformer", "sentence_transformers.SentenceTransformer"),
    _sentence("CrossEncoder", "sentence_transformers.cross_encoder.model"),
    _sentence("CrossEncoder", "sentence_transformers.cross_encoder.CrossEncoder"),
    _sentence("SparseEncoder", "sentence_transformers.sparse_encoder.model"),
    _sentence("SparseEncoder", "sentence_transformers.sparse_encoder.SparseEncoder"),
    _sentence("MultiVectorEncoder", "sentence_transformers.multi_vector_encoder.model"),
    Loader(
        name="import_from_string",
        group="sentence-transformers",
        module="sentence_transformers.util",
        guard="sentence_:guard_names",
        asks_about="nothing: a class that a configuration names is judged by its name and by what it leads to",
        enforced="modules of torch.nn and of sentence-transformers; of another installed package only where the "
        "report said so and was accepted",
        scanned="the names in modules.json and config.json",
    ),
    _entry(
        "ModelHubMixin.from_pretrained",
        "huggingface_hub.hub_mixin",
        "hub_mixin_:guard",
        group="huggingface_hub",
        asks_about="config.json and the weights, at one commit",
    ),
    Loader(
        name="hf_hub_download",
        group="huggingface_hub",
        module="huggingface_hub.file_download",
        guard="hub_files:guard_file",
        asks_about="nothing by itself: a download loads nothing; what came is scanned, and is noted in the audit log",
        enforced="within a load: the pinned commit, and only files that were scanned and let through",
        scanned="within a load: the file",
    ),
    Loader(
        name="snapshot_download",
        group="huggingface_hub",
        module="huggingface_hub._snapshot_download",
        guard="hub_files:guard_snapshot",
        asks_about="nothing by itself: a download loads nothing; what came is scanned, and is noted in the audit log",
        enforced="within a load: the pinned commit, and only files that were scanned and let through",
        scanned="within a load: the files",
    ),
    _entry(
        "PeftModel.from_pretrained",
        "peft.peft_model",
        "peft_:guard_models",
        group="peft",
        asks_about="the adapter's configuration and weights",
    ),
    _entry(
        "PeftModel.load_adapter",
        "peft.peft_model",
        "peft_:guard_models",
        group="peft",
        asks_about="the adapter's configuration and weights",
    ),
    _entry(
        "PeftMixedModel.from_pretrained",
        "peft.mixed_model",
        "peft_:guard_mixed",
        group="peft",
        asks_about="the adapter's configuration and weights",
    ),
    _entry(
        "PeftConfig.from_pretrained",
        "peft.config",
        "peft_:guard_configurations",
        group="peft",
        asks_about="the adapter's configuration",
    ),
    _entry(
        "AutoPeftModel.from_pretrained",
        "peft.auto",
        "peft_:guard_auto",
        group="peft",
        asks_about="the adapter, its tokenizer and the base model that it names, in one question",
    ),
    _entry(
        "peft.load_peft_weights",
        "peft.utils.save_and_load",
        "peft_:guard_weights",
        group="peft",
        asks_about="the adapter's weights",
    ),
    _entry(
        "model.load_adapter",
        "transformers.integrations.peft",
        "peft_:guard_in_transformers",
        group="transformers",
        asks_about="the adapter's configuration and weights",
    ),
)
