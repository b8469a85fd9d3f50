"""`MLmodel` of MLflow: what imports the model, and which paths are joined to its folder.

    judge(job, found, facts)        # found: a `yaml_nodes.Reading`

Sources: `mlflow/pyfunc/__init__.py` (`loader_module`, `code`, `data`, `predict_fn`), `mlflow/utils/model_utils.py`,
`mlflow/pyfunc/model.py` (`python_model`, `artifacts`), `mlflow/transformers/model_io.py` (`components`,
`source_model_name`), `mlflow/sklearn/__init__.py` (`pickled_model`), `mlflow/pytorch/__init__.py`
(`pickle_module_info.txt`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from nbguard.artifact.model import NotScanned
from nbguard.formats.yaml_nodes import Reading
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners import config_keys
from nbguard.scanners.base import Format, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

NAME = "MLmodel"
PICKLE_MODULE = "pickle_module_info.txt"
"""Beside a model of PyTorch's flavour: the module whose `load` and `Unpickler` read it."""
_PATHS = frozenset(
    {
        "code", "data", "model_config", "pickled_model", "model_data", "python_model", "env", "conda", "virtualenv",
        "model_path", "model_binary", "model_file", "artifact_path", "serving_input_path", "path", "model_code_paths",
        "model_folder", "vocabs", "peft_adaptor", "pipeline_path", "booster_path", "loader_path", "agent", "tools",
    }
)  # fmt: skip
"""Keys of flavours that are paths below the model's folder."""
_LISTS = ("components", "code_paths", "extra_files", "requirements_file")
"""Keys that hold several."""


def is_one(name: str) -> bool:
    """Whether a file has MLflow's own name, which some disks find in other letters too."""
    return name.rsplit("/", 1)[-1].lower() == NAME.lower()


def judge(job: Job, found: Reading, facts: Facts) -> None:
    """Add what loading the model would import and open."""
    document = found.value if isinstance(found.value, dict) else {}
    flavors = document.get("flavors")
    if not isinstance(flavors, dict):
        facts.unverifiable("mlmodel.flavors", job.path, "flavors", "It names no way of loading the model.")
        return
    folder = job.path.rpartition("/")[0]
    for flavor, conf in flavors.items():
        if not isinstance(conf, dict):
            facts.unverifiable("mlmodel.flavors", job.path, flavor[:80], "The flavour is no table.")
            continue
        code = conf.get("code")
        if isinstance(code, str) and code not in ("", "null") and not config_keys.leads_out(code):
            facts.references.append(f"below:{folder}/{code}" if folder else f"below:{code}")
        own = conf.get("model_code_path")
        if isinstance(own, str) and own:
            facts.references.append(f"py:{folder}/{own.rsplit('/', 1)[-1]}".replace("py:/", "py:"))
        _loader(job, facts, flavor, conf, bool(code))
        _functions(job, facts, flavor, conf)
    for where, key, path in list(_places(document))[:1000]:
        if config_keys.leads_out(path) or path.startswith(("file:", "\\\\")):
            outside(job, facts, where, key, path)
    try:
        for said in config_keys.judge(f"{NAME}", flavors):
            facts.add(said.finding, said.verdict)
            if said.elsewhere:
                facts.not_scanned.append(NotScanned(said.elsewhere, "another model, which this one names"))
    except config_keys.TooMuchError as error:
        facts.unverifiable("mlmodel.flavors", job.path, "flavors", str(error))


def _places(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(where, key, path) of everything that is joined to the model's folder."""
    flavors = document.get("flavors")
    for part in (flavors, document.get("saved_input_example_info"), document.get("signature")):
        for parents, key, value in config_keys.walk(part):
            if "model_config" in parents:  # values for the model's own code
                continue
            where = ".".join((*parents, key))[:100]
            if isinstance(value, str) and key in _PATHS and value not in ("", "null"):
                yield where, key, value
            elif isinstance(value, list) and key in _LISTS:
                yield from ((where, key, item) for item in value if isinstance(item, str))


def _loader(job: Job, facts: Facts, flavor: str, conf: dict[str, Any], own_code: bool) -> None:
    name = conf.get("loader_module")
    if name is None or name in table("frameworks")["loaders"]["modules"]:
        return
    text = str(name)
    top = text.partition(".")[0]
    never = not all(p.isidentifier() for p in text.split(".")) or top in sys.stdlib_module_names or "__" in text
    facts.add(
        Finding(
            "mlmodel.loader",
            Severity.CRITICAL if never else Severity.MEDIUM if own_code else Severity.HIGH,
            job.path,
            f"{flavor}.loader_module"[:100],
            f"The model is loaded by the module {text[:120]!r}, which is none of MLflow's own.",
            meaning="It is imported, and its function _load_pyfunc is called."
            + (" It comes from the code beside the model." if own_code and not never else ""),
            remedy="Do not load it." if never else "Read that module before you accept.",
        ),
        Verdict.DANGER if never else Verdict.REVIEW,
    )


def _functions(job: Job, facts: Facts, flavor: str, conf: dict[str, Any]) -> None:
    for key in ("predict_fn", "predict_stream_fn"):
        name = conf.get(key)
        if isinstance(name, str) and (not name.isidentifier() or name.startswith("_")):
            facts.add(
                Finding(
                    "mlmodel.function",
                    Severity.MEDIUM,
                    job.path,
                    f"{flavor}.{key}"[:100],
                    f"It has MLflow call {name[:80]!r} of the model, which is no name of a function for that.",
                    meaning="Whatever the model has under that name is called with your data.",
                    remedy="Ask the publisher why.",
                ),
                Verdict.REVIEW,
            )


def outside(job: Job, facts: Facts, where: str, key: str, path: str) -> None:
    """Add that a path leads out of the model's folder."""
    facts.add(
        Finding(
            "yaml.outside",
            Severity.HIGH,
            job.path,
            where,
            f"Its {key[:60]} leads out of the model's folder: {path[:200]}",
            meaning="Other files of this machine would be loaded, or imported, in the place of the model's own.",
            remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )


FORMATS = (
    Format(
        "mlmodel",
        "models of MLflow",
        ("MLmodel",),
        "By its name, as MLflow does; it is YAML.",
        "The module that loads each flavour, the code that is put on the path or run as the model, every path, other"
        " models that are named, functions that are called for predictions.",
        "Whether the packages in its environment files are what they seem: MLflow installs them where it is asked to."
        " The files of the model are judged by themselves.",
        "*safe* for flavours of MLflow; *review* for a loader of the model's own; *danger* for paths out of the folder"
        " and for modules of Python itself as loaders; *unverifiable* where it names no flavour",
    ),
)
