"""Frameworks whose configurations name the classes they are made of: HyperPyYAML, SpeechBrain, NeMo; and spaCy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbguard.hooks.loaders.entry import Call, Loader

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened

_SPEECHBRAIN = (
    "the configuration and its code from the scanned bytes; names in it judged once more where they are resolved; no"
    " `!!python` tags; weights as torch.load"
)


def _spacy(call: Call) -> Opened | None:
    from nbguard.hooks.loaders import spacy_

    return spacy_.folder_of_model(call)


LOADERS = (
    Loader(
        name="hyperpyyaml.load_hyperpyyaml",
        module="hyperpyyaml.core",
        guard="frameworks_:guard_hyperpyyaml",
        asks_about="the text",
        enforced="the scanned text; names judged once more where they are resolved; no `!!python` tags, no `!include`",
        scanned="what the classes of known libraries do with their arguments",
    ),
    Loader(
        name="speechbrain.Pretrained.from_hparams",
        module="speechbrain.inference.interfaces",
        guard="frameworks_:guard_speechbrain",
        asks_about="the configuration, code and weights of the repository or folder",
        enforced=_SPEECHBRAIN,
        scanned="what the classes of known libraries do with their arguments",
        tested="stand-in",
    ),
    Loader(
        name="speechbrain.foreign_class",
        module="speechbrain.inference.interfaces",
        guard="frameworks_:guard_speechbrain",
        asks_about="the same",
        enforced=_SPEECHBRAIN,
        scanned="what the classes of known libraries do with their arguments",
        tested="stand-in",
    ),
    Loader(
        name="speechbrain.import_from_path",
        module="speechbrain.utils.superpowers",
        guard="frameworks_:guard_speechbrain_imports",
        asks_about="nothing by itself: it imports a model's own code",
        enforced="runs only from bytes that were accepted, and without effects",
        scanned="what its functions do when they are called later",
        tested="stand-in",
    ),
    Loader(
        name="nemo.ModelPT.restore_from",
        module="nemo.core.classes.modelPT",
        function="ModelPT.restore_from",
        source=("restore_path",),
        hand="staged",
        asks_about="the .nemo archive, or the folder",
        enforced="read through the scanned handle; weights as torch.load",
        scanned="every `_target_` and `target` of its configuration",
        tested="stand-in",
    ),
    Loader(
        name="nemo.ModelPT.from_pretrained",
        module="nemo.core.classes.common",
        guard="frameworks_:guard_nemo",
        asks_about="the archive that it fetches",
        enforced="the archive of the commit that was scanned, as restore_from",
        scanned="the same",
        tested="stand-in",
    ),
    *(
        Loader(
            name=name,
            module=module,
            function=function,
            source=("name",),
            opens=_spacy,
            hand="staged",
            asks_about="every file of the folder; an installed package is code that was installed",
            enforced="read through the scanned handles; pickles and weights inside as their own loaders",
            scanned="registered functions that config.cfg names; MessagePack and JSON, value by value",
        )
        for name, module, function in (
            ("spacy.load", "spacy", "load"),
            ("spacy.util.load_model", "spacy.util", "load_model"),
        )
    ),
)
