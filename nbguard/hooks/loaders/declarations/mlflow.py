"""MLflow: one entry for each flavour that loads a model by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbguard.hooks.loaders.entry import Call, Loader

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.grants import Grant

FLAVORS = ("pyfunc", "sklearn", "pytorch", "xgboost", "lightgbm", "catboost", "onnx", "keras", "tensorflow",
           "transformers", "sentence_transformers", "spacy", "statsmodels", "pmdarima", "prophet", "paddle", "h2o",
           "diviner", "fastai", "langchain", "llama_index", "dspy", "openai", "johnsnowlabs", "diffusers")  # fmt: skip
TESTED = ("pyfunc", "sklearn", "pytorch")


def _opens(call: Call) -> Opened | None:
    from nbguard.hooks.loaders import mlflow_

    return mlflow_.folder_of_model(call)


def _prepare(call: Call, grant: Grant) -> None:
    from nbguard.hooks.loaders import mlflow_

    mlflow_.prepare(call, grant)


def _finish(call: Call, grant: Grant, result: Any) -> Any:
    from nbguard.hooks.loaders import mlflow_

    return mlflow_.finish(call, grant, result)


LOADERS = tuple(
    Loader(
        name=f"mlflow.{flavor}.load_model",
        module=f"mlflow.{flavor}",
        function="load_model",
        source=("model_uri",),
        opens=_opens,
        hand="same",
        prepare=_prepare,
        finish=_finish,
        asks_about="every file of the model's folder",
        enforced="MLmodel and code from copies that are compared again; code runs only as scanned and without effects;"
        " pickles and weights as their own loaders; no path out of the folder; loader modules MLflow's own or scanned",
        scanned="objects that MLflow's flavours make of data"
        + ("" if flavor in TESTED else "; the tests run pyfunc, sklearn and pytorch through this same guard"),
    )
    for flavor in FLAVORS
)
