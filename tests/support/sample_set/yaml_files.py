"""YAML that makes objects, MLflow's file, spaCy's configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sample_set import COMMAND, Sample, written


def hydra() -> bytes:
    from omegaconf import OmegaConf

    made = OmegaConf.create(
        {"width": 8, "encoder": {"_target_": "torch.nn.Linear", "in_features": "${width}", "out_features": 4}}
    )
    return OmegaConf.to_yaml(made).encode()


def hyperpyyaml(place: Path) -> None:
    from hyperpyyaml import load_hyperpyyaml

    load_hyperpyyaml(place.read_text())


def mlmodel() -> bytes:
    from mlflow.models import Model

    model = Model(artifact_path="model", model_uuid="0" * 32, utc_time_created="2025-01-01 00:00:00")
    model.add_flavor(
        "python_function", loader_module="mlflow.sklearn", model_path="model.pkl", predict_fn="predict",
        python_version="3.11", env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    )  # fmt: skip
    model.add_flavor("sklearn", pickled_model="model.pkl", serialization_format="cloudpickle", code=None)
    with tempfile.TemporaryDirectory() as folder:
        model.save(str(Path(folder) / "MLmodel"))
        return (Path(folder) / "MLmodel").read_bytes()


def changed(old: str, new: str) -> Callable[[], bytes]:
    def build() -> bytes:
        text = mlmodel().decode()
        assert old in text
        return text.replace(old, new).encode()

    return build


@cache
def spacy_config() -> bytes:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("tok2vec")
    with tempfile.TemporaryDirectory() as folder:
        nlp.to_disk(folder)
        return (Path(folder) / "config.cfg").read_bytes()


def spacy_with(more: str) -> Callable[[], bytes]:
    return lambda: spacy_config() + b"\n" + more.encode()


def spacy_callback() -> bytes:
    text = spacy_config().decode()
    assert "before_creation = null" in text
    head = text.replace("before_creation = null\n", "")
    return head.replace("[components]", '[nlp.before_creation]\n@callbacks = "own.acts.v1"\n\n[components]').encode()


def _yaml(name: str, text: str, verdict: str, rule: str, trick: str, acts: bool = False) -> Sample:
    return Sample(
        f"yaml/{name}", "yaml", written("hyperparams.yaml", text.encode), (verdict,), rule=rule, trick=trick,
        needs=("hyperpyyaml",) if acts else (), loads=hyperpyyaml if acts else None,
    )  # fmt: skip


def _mlmodel(name: str, build: Callable[[], bytes], verdict: str, rule: str, trick: str) -> Sample:
    return Sample(f"mlmodel/{name}", "mlmodel", written("MLmodel", build), (verdict,), rule=rule, trick=trick,
                  needs=("mlflow",))  # fmt: skip


SAMPLES = (
    Sample("yaml/hydra", "yaml", written("config.yaml", hydra), ("review",), honest=True, needs=("omegaconf",)),
    _yaml("apply", f"a: !apply:os.system [{COMMAND}]\n", "danger", "yaml.gadget", "It calls a function.", acts=True),
    _yaml(
        "python-tag", f"a: !!python/object/apply:os.system [{COMMAND}]\n", "danger", "yaml.python",
        "YAML's own way to call a function.",
    ),
    _yaml("apply-in-escapes", f"a: !%61pply:os.system [{COMMAND}]\n", "danger", "yaml.gadget",
          "The tag is spelt with the number of a letter.", acts=True),
    _yaml("target-in-escapes", '"\\x5ftarget_": os.system\n', "danger", "yaml.gadget", "So is the key."),
    _yaml("target-with-a-remark", "? _target_ # of the model\n: os.system\n", "danger", "yaml.gadget",
          "A remark stands between the key and its value."),
    _yaml("target-by-an-alias", "key: &k _target_\nmodel: {*k : os.system}\n", "danger", "yaml.gadget",
          "The key stands somewhere else."),
    _yaml("target-on-two-lines", '? "_tar\\\n  get_"\n: os.system\n', "danger", "yaml.gadget",
          "The key is broken by the end of a line."),
    _yaml("of-5-megabytes", "# filler\n" * 600_000 + "a: !apply:os.system [x]\n", "unverifiable", "yaml.malformed",
          "It is larger than what is taken apart."),
    _yaml("target", "a:\n  _target_: os.system\n", "danger", "yaml.gadget", "Hydra would call it."),
    _yaml("eval", "width: ${eval:__import__('os')}\n", "danger", "yaml.resolver", "A resolver that is Python's eval."),
    _yaml("secret", "note: ${oc.env:HF_TOKEN}\n", "review", "yaml.environment", "It reads a secret."),
    _yaml(
        "layer", "backbone:\n- [-1, 1, Conv, ['__import__(\"os\").system(\"x\")']]\nhead: []\n", "danger",
        "yaml.expression", "An argument of a layer that YOLOv5 evaluates.",
    ),
    _yaml("layer-name", "backbone: [[-1, 1, 'exec', ['(1)(2)']]]\nhead: []\n", "danger", "yaml.expression",
          "Arguments that are no plain words."),
    _yaml("user-code", "common:\n  user_dir: ../../evil\n", "danger", "yaml.user-code", "fairseq imports that folder."),
    _yaml("bento", "context:\n  bentoml_version: 1.0\nmodule: antigravity\n", "danger", "yaml.module",
          "BentoML imports that module."),
    Sample("mlmodel/honest", "mlmodel", written("MLmodel", mlmodel), ("safe",), honest=True, needs=("mlflow",)),
    _mlmodel("loader", changed("mlflow.sklearn", "own_loader"), "review", "mlmodel.loader", "Another module loads it."),
    _mlmodel("loader-of-python", changed("mlflow.sklearn", "antigravity"), "danger", "mlmodel.loader",
             "A module of Python loads it."),
    _mlmodel("of-5-megabytes", lambda: mlmodel() + b"# filler\n" * 600_000, "unverifiable", "yaml.malformed",
             "It is larger than what is taken apart."),
    _mlmodel("path", changed("model_path: model.pkl", "model_path: ../../x.pkl"), "danger", "yaml.outside",
             "The model lies outside of the folder."),
    _mlmodel("environment", changed("conda: conda.yaml", "conda: /tmp/x.yaml"), "danger", "yaml.outside",
             "The environment is described elsewhere."),
    _mlmodel("function", changed("predict_fn: predict", "predict_fn: __reduce_ex__"), "review", "mlmodel.function",
             "Another function of the model is called."),
    Sample("mlmodel/pickle-module", "mlflow-pickle-module",
           written("pickle_module_info.txt", lambda: b"mlflow.pytorch.pickle_module"), ("safe",), honest=True),
    Sample("mlmodel/pickle-module-of-python", "mlflow-pickle-module",
           written("pickle_module_info.txt", lambda: b"antigravity"), ("danger",), rule="mlmodel.pickle-module",
           trick="MLflow imports another module to read the pickle."),
    Sample("mlmodel/pickle-module-of-anybody", "mlflow-pickle-module",
           written("pickle_module_info.txt", lambda: b"own_pickle"), ("review",), rule="mlmodel.pickle-module",
           trick="MLflow imports a module that nobody knows."),
    Sample("spacy/honest", "spacy-config", written("config.cfg", spacy_config), ("safe",), honest=True,
           needs=("spacy",)),
    Sample("spacy/callback", "spacy-config", written("config.cfg", spacy_callback), ("review",),
           rule="spacy.registered", trick="A function of another package runs when the language is made.",
           needs=("spacy",)),
    Sample("spacy/block-elsewhere", "spacy-config",
           written("config.cfg", spacy_with('[components.x]\nfactory = "sentencizer"\npunct_chars = ${vars.own}\n'
                                            '[vars]\n[vars.own]\n@misc = "own.acts.v1"\n')),
           ("review",), rule="spacy.registered", trick="The block with the call is taken over from another place.",
           needs=("spacy",)),
    Sample("spacy/call-in-a-value", "spacy-config",
           written("config.cfg", spacy_with('[components.x]\nfactory = "sentencizer"\n'
                                            'punct_chars = {"@misc": "own.acts.v1"}\n')),
           ("review",), rule="spacy.registered", trick="The call stands in a value.", needs=("spacy",)),
    Sample("spacy/of-5-megabytes", "spacy-config",
           written("config.cfg", spacy_with("# filler\n" * 600_000)), ("unverifiable",), rule="spacy.config",
           trick="It is larger than what is taken apart.", needs=("spacy",)),
    Sample("spacy/component", "spacy-config",
           written("config.cfg", spacy_with('[components.x]\nfactory = "own.thing"\nsource = "/tmp/other"\n')),
           ("review",), rule="spacy.source", trick="A component comes from another pipeline.", needs=("spacy",)),
    Sample("spacy/twice", "spacy-config", written("config.cfg", spacy_with("[nlp]\nlang = en\n")),
           ("unverifiable",), rule="spacy.config", trick="A block is there twice.", needs=("spacy",)),
)  # fmt: skip
