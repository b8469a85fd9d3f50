"""Writes the class lists under `nbguard/rules/globals/` from the libraries that are installed.

    python tools/generate_rules.py sklearn scipy xgboost lightgbm catboost torch transformers

A class is listed when nothing that a pickle can trigger on it is unreviewed: every method in `TRIGGERS` is looked up
through its whole MRO, and the class that defines it has to be `object`, a builtin, or in `REVIEWED`. What is left out
is printed. The result is data for review: read the difference before committing it.
"""

from __future__ import annotations

import enum
import importlib
import pkgutil
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

OUT = Path(__file__).resolve().parents[1] / "nbguard" / "rules" / "globals"

TRIGGERS = (
    "__setstate__",
    "__del__",
    "__setitem__",
    "append",
    "extend",
    "add",
    "__hash__",
    "__new__",
    "__getattr__",
    "__getattribute__",
    "__setattr__",
)
"""What NEWOBJ, BUILD, APPEND(S), SETITEM(S), ADDITEMS, dictionary keys, attribute lookups and the collector call."""

REVIEWED = {
    "sklearn.base.BaseEstimator": "warns about versions, then updates __dict__",
    "sklearn.isotonic.IsotonicRegression": "as BaseEstimator, then rebuilds an interpolation of its own numbers",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": "updates __dict__, converts node types",
    "sklearn.utils._bunch.Bunch": "ignores state; a dictionary whose keys are attributes",
    "sklearn.frozen._frozen.FrozenEstimator": "looks attributes up on the estimator that it holds",
    "sklearn.utils._metadata_requests.MetadataRequest": "computes one property from its own dictionaries",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveClassifier": "warns that it is deprecated",
    "sklearn.linear_model._passive_aggressive.PassiveAggressiveRegressor": "warns that it is deprecated",
    "sklearn.utils._encode._NaNCounter": "counts missing values",
    "torch.nn.modules.module.Module": "updates __dict__ and fills missing hook dictionaries; attributes go to its own",
    "torch.nn.modules.conv._ConvNd": "as Module, with a default for padding_mode",
    "torch.nn.modules.rnn.RNNBase": "as Module, then flattens its own weights",
    "torch.nn.modules.activation.MultiheadAttention": "as Module, with a default",
    "torch.nn.modules.activation.Softmax": "as Module, with a default",
    "torch.nn.modules.activation.Softmin": "as Module, with a default",
    "torch.nn.modules.activation.LogSoftmax": "as Module, with a default",
    "torch.nn.modules.pooling.AvgPool3d": "as Module, with defaults",
    "torch.nn.modules.upsampling.Upsample": "as Module, with a default",
    "torch.nn.modules.transformer.TransformerEncoderLayer": "as Module, with a default activation",
    "torch.nn.modules.transformer.TransformerDecoderLayer": "as Module, with a default activation",
    "torch.nn.modules.container.ModuleList": "a module that holds modules",
    "torch.nn.modules.container.ModuleDict": "a module that holds modules",
    "torch.nn.modules.container.Sequential": "a module that holds modules",
    "torch.nn.modules.container.ParameterList": "a module that holds parameters",
    "torch.nn.modules.container.ParameterDict": "a module that holds parameters",
    "torch.optim.optimizer.Optimizer": "updates __dict__, fills missing hook dictionaries",
    **{
        f"torch.optim.{m}": "as Optimizer, with defaults for its parameter groups"
        for m in (
            "adadelta.Adadelta",
            "adagrad.Adagrad",
            "adam.Adam",
            "adamax.Adamax",
            "adamw.AdamW",
            "asgd.ASGD",
            "nadam.NAdam",
            "radam.RAdam",
            "rmsprop.RMSprop",
            "rprop.Rprop",
            "sgd.SGD",
        )
    },
    "xgboost.core.Booster": "hands model bytes to the library's own reader; frees what that reader made",
    "lightgbm.basic.Booster": "hands a model text to the library's own reader; frees what that reader made",
    "catboost.core._CatBoostBase": "hands model bytes to the library's own reader",
    "scipy.interpolate._interpolate._Interpolator1D": "slots",
    "sklearn.gaussian_process.kernels.Kernel": "theta: sets its own hyperparameters to numbers",
    "sklearn.gaussian_process.kernels.KernelOperator": "theta: sets its own kernels' hyperparameters to numbers",
    "sklearn.gaussian_process.kernels.CompoundKernel": "theta: sets its own kernels' hyperparameters to numbers",
    "sklearn.gaussian_process.kernels.Exponentiation": "theta: sets its own kernel's hyperparameters to numbers",
    "scipy.sparse._matrix.spmatrix": "shape: reshapes its own arrays",
    "scipy.sparse._compressed._cs_matrix": "sets flags about the order of its own arrays",
    "scipy.sparse._data._data_matrix": "dtype: sets it on its own array",
    "scipy.sparse._coo._coo_base": "row, col: sets its own arrays",
    "scipy.interpolate._interpolate._PPolyBase": "x, c: sets its own arrays",
    "scipy.interpolate._interpolate.interp1d": "fill_value: checks and sets its own numbers",
    "scipy.interpolate._bsplines.BSpline": "t, c: sets its own arrays",
    "scipy.sparse._coo.coo_matrix": "updates __dict__, gives old pickles their coords",
    "scipy._lib._util._RichResult": "a dictionary whose keys are attributes",
    "transformers.utils.generic.ModelOutput": "a dictionary whose keys are attributes",
    "transformers.tokenization_utils_base.BatchEncoding": "a dictionary whose keys are attributes",
    "transformers.configuration_utils.PreTrainedConfig": "follows its attribute map",
}
"""Owner of a trigger → what it does, after reading its source."""

BY_HAND = frozenset({"_WrappedHook", "KDTree", "dok_matrix", "dok_array", "PackedSequence", "PackedSequence_"})
"""Classes that have an entry of their own in a file written by hand."""

OLD = """
sklearn.svm._classes sklearn.svm.classes
sklearn.linear_model._base sklearn.linear_model.base
sklearn.linear_model._logistic sklearn.linear_model.logistic
sklearn.linear_model._ridge sklearn.linear_model.ridge
sklearn.linear_model._coordinate_descent sklearn.linear_model.coordinate_descent
sklearn.linear_model._stochastic_gradient sklearn.linear_model.stochastic_gradient
sklearn.linear_model._least_angle sklearn.linear_model.least_angle
sklearn.linear_model._bayes sklearn.linear_model.bayes
sklearn.linear_model._huber sklearn.linear_model.huber
sklearn.linear_model._omp sklearn.linear_model.omp
sklearn.linear_model._passive_aggressive sklearn.linear_model.passive_aggressive
sklearn.linear_model._perceptron sklearn.linear_model.perceptron
sklearn.linear_model._ransac sklearn.linear_model.ransac
sklearn.linear_model._theil_sen sklearn.linear_model.theil_sen
sklearn.tree._classes sklearn.tree.tree
sklearn.ensemble._forest sklearn.ensemble.forest
sklearn.ensemble._gb sklearn.ensemble.gradient_boosting
sklearn.ensemble._bagging sklearn.ensemble.bagging
sklearn.ensemble._iforest sklearn.ensemble.iforest
sklearn.ensemble._voting sklearn.ensemble.voting
sklearn.ensemble._voting sklearn.ensemble.voting_classifier
sklearn.ensemble._weight_boosting sklearn.ensemble.weight_boosting
sklearn.preprocessing._data sklearn.preprocessing.data
sklearn.preprocessing._label sklearn.preprocessing.label
sklearn.impute._base sklearn.preprocessing.imputation
sklearn.neighbors._classification sklearn.neighbors.classification
sklearn.neighbors._regression sklearn.neighbors.regression
sklearn.neighbors._unsupervised sklearn.neighbors.unsupervised
sklearn.neighbors._nearest_centroid sklearn.neighbors.nearest_centroid
sklearn.neighbors._kde sklearn.neighbors.kde
sklearn.neighbors._lof sklearn.neighbors.lof
sklearn.decomposition._pca sklearn.decomposition.pca
sklearn.decomposition._truncated_svd sklearn.decomposition.truncated_svd
sklearn.decomposition._nmf sklearn.decomposition.nmf
sklearn.decomposition._lda sklearn.decomposition.online_lda
sklearn.decomposition._kernel_pca sklearn.decomposition.kernel_pca
sklearn.decomposition._fastica sklearn.decomposition.fastica_
sklearn.decomposition._incremental_pca sklearn.decomposition.incremental_pca
sklearn.decomposition._factor_analysis sklearn.decomposition.factor_analysis
sklearn.decomposition._dict_learning sklearn.decomposition.dict_learning
sklearn.cluster._kmeans sklearn.cluster.k_means_
sklearn.cluster._dbscan sklearn.cluster.dbscan_
sklearn.cluster._agglomerative sklearn.cluster.hierarchical
sklearn.cluster._birch sklearn.cluster.birch
sklearn.cluster._mean_shift sklearn.cluster.mean_shift_
sklearn.cluster._spectral sklearn.cluster.spectral
sklearn.cluster._affinity_propagation sklearn.cluster.affinity_propagation_
sklearn.cluster._optics sklearn.cluster.optics_
sklearn.feature_selection._univariate_selection sklearn.feature_selection.univariate_selection
sklearn.feature_selection._from_model sklearn.feature_selection.from_model
sklearn.feature_selection._rfe sklearn.feature_selection.rfe
sklearn.feature_selection._variance_threshold sklearn.feature_selection.variance_threshold
sklearn.neural_network._multilayer_perceptron sklearn.neural_network.multilayer_perceptron
sklearn.neural_network._rbm sklearn.neural_network.rbm
sklearn.mixture._gaussian_mixture sklearn.mixture.gaussian_mixture
sklearn.mixture._bayesian_mixture sklearn.mixture.bayesian_mixture
sklearn.gaussian_process._gpr sklearn.gaussian_process.gpr
sklearn.gaussian_process._gpc sklearn.gaussian_process.gpc
sklearn.semi_supervised._label_propagation sklearn.semi_supervised.label_propagation
sklearn.manifold._t_sne sklearn.manifold.t_sne
sklearn.manifold._isomap sklearn.manifold.isomap
sklearn.manifold._mds sklearn.manifold.mds
sklearn.manifold._locally_linear sklearn.manifold.locally_linear
sklearn.manifold._spectral_embedding sklearn.manifold.spectral_embedding_
sklearn.cross_decomposition._pls sklearn.cross_decomposition.pls_
sklearn.feature_extraction._dict_vectorizer sklearn.feature_extraction.dict_vectorizer
sklearn.feature_extraction._hash sklearn.feature_extraction.hashing
sklearn.covariance._empirical_covariance sklearn.covariance.empirical_covariance_
sklearn.covariance._robust_covariance sklearn.covariance.robust_covariance
sklearn.covariance._elliptic_envelope sklearn.covariance.elliptic_envelope
sklearn.utils._bunch sklearn.utils
sklearn.metrics._scorer sklearn.metrics.scorer
sklearn._loss.loss sklearn.ensemble._hist_gradient_boosting.loss
scipy.sparse._csr scipy.sparse.csr
scipy.sparse._csc scipy.sparse.csc
scipy.sparse._coo scipy.sparse.coo
scipy.sparse._lil scipy.sparse.lil
scipy.sparse._dok scipy.sparse.dok
scipy.sparse._dia scipy.sparse.dia
scipy.sparse._bsr scipy.sparse.bsr
scipy.interpolate._interpolate scipy.interpolate.interpolate
scipy.interpolate._fitpack2 scipy.interpolate.fitpack2
scipy.optimize._optimize scipy.optimize.optimize
scipy.spatial._kdtree scipy.spatial.kdtree
scipy.stats._distn_infrastructure scipy.stats.distributions
scipy.spatial.transform._rotation scipy.spatial.transform.rotation
"""
"""Today's module and an older spelling of it, one pair a line."""

SKIP = (
    "tests",
    "conftest",
    "_build_utils",
    "externals",
    "experimental",
    "__check_build",
    "testing",
    "dask",
    "spark",
    "quantiz",
    "intrinsic",
    "qat",
    "widget",
    "sklearn.datasets",
    "torch.nn.parallel",
    "torch.nn.utils.parametri",
    "_array_api",
    "array_api_compat",
    "sklearn.utils._test",
    "torch.nn.backends",
    "torch.nn.cpp",
)


def modules(root: str) -> Iterator[ModuleType]:
    """`root` and everything below it that can be imported, but for tests and the like."""
    package = importlib.import_module(root)
    yield package
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), root + ".", onerror=lambda _: None):
        if any(skip in found.name for skip in SKIP):
            continue
        try:
            yield importlib.import_module(found.name)
        except (Exception, SystemExit):  # noqa: BLE001 - an optional dependency of that module is missing
            continue


def classes(roots: list[str]) -> Iterator[type]:
    """Classes by the module in which a pickle would name them; C and Cython ones are listed by hand."""
    seen: set[type] = set()
    for root in roots:
        for module in modules(root):
            for value in list(vars(module).values()):
                if isinstance(value, type) and value not in seen and value.__module__.startswith(root):
                    seen.add(value)
                    python = bool(value.__flags__ & (1 << 9)) and "<locals>" not in value.__qualname__
                    found = sys.modules.get(value.__module__)
                    named = getattr(found, value.__qualname__.partition(".")[0], None)
                    if python and named is not None and not issubclass(value, BaseException | type):
                        yield value


def unreviewed(cls: type) -> list[str]:
    """`owner.method` of every trigger that nobody has read."""
    out = []
    mutated = issubclass(cls, dict | list | set)
    for trigger in TRIGGERS:
        if trigger in ("__setitem__", "append", "extend", "add") and not mutated:
            continue  # its rule has no verb for that
        if trigger == "__new__" and (issubclass(cls, enum.Enum) or hasattr(cls, "_fields")):
            continue  # made by enum and namedtuple themselves
        for owner in cls.__mro__:
            if trigger in vars(owner):
                name = f"{owner.__module__}.{owner.__qualname__}"
                plain = owner is object or owner.__module__ in ("builtins", "collections", "typing", "abc", "enum")
                dataclass_hash = trigger == "__hash__" and vars(owner)[trigger] is None
                if not plain and not dataclass_hash and name not in REVIEWED:
                    out.append(f"{name}.{trigger}")
                break
    if not any("__setstate__" in vars(owner) for owner in cls.__mro__):
        out += setters(cls)
    return out


def setters(cls: type) -> list[str]:
    """Properties that BUILD's second state dictionary sets by `setattr` where a class has no __setstate__."""
    found = []
    for owner in cls.__mro__:
        name = f"{owner.__module__}.{owner.__qualname__}"
        for key, value in vars(owner).items():
            if isinstance(value, property) and value.fset is not None and name not in REVIEWED:
                found.append(f"{name}.{key} (setter)")
    return found


def spellings() -> dict[str, list[str]]:
    old: dict[str, list[str]] = defaultdict(list)
    for line in OLD.split("\n"):
        if line.strip():
            new, before = line.split()
            old[new].append(before)
    return old


LIBRARIES = {
    "sklearn": ("scikit-learn", ["sklearn"], "estimator"),
    "scipy": ("SciPy", ["scipy.sparse", "scipy.interpolate", "scipy.optimize._optimize", "scipy.spatial._kdtree"], ""),
    "xgboost": ("XGBoost", ["xgboost.core", "xgboost.sklearn", "xgboost.callback"], "native_model"),
    "lightgbm": ("LightGBM", ["lightgbm.basic", "lightgbm.sklearn", "lightgbm.callback"], "native_model"),
    "catboost": ("CatBoost", ["catboost.core"], "native_model"),
    "torch": ("PyTorch", ["torch.nn", "torch.optim", "torch.utils.data.dataset"], "module"),
    "transformers": (
        "Transformers",
        [
            "transformers.training_args",
            "transformers.trainer_utils",
            "transformers.trainer_callback",
            "transformers.trainer_pt_utils",
            "transformers.training_args_seq2seq",
        ],
        "",
    ),
}
REASONS = {
    "estimator": "Only made and given a state of attributes; its __setstate__, through its whole MRO, was read.",
    "module": "Only made and given a state of attributes; its hooks and methods are checked.",
    "native_model": "Only made and given state; the model inside goes to the library's own reader.",
    "": "Only made and given a state of attributes; what that triggers, through its whole MRO, was read.",
}


def write(key: str) -> None:
    """Write one library's list and print what is left out of it."""
    library, roots, check = LIBRARIES[key]
    old = spellings()
    listed: dict[str, dict[str, list[str]]] = {kind: defaultdict(list) for kind in ("object", "container", "enum")}
    for cls in classes(roots):
        left = unreviewed(cls)
        if cls.__name__ in BY_HAND or left:
            print(f"left out: {cls.__module__}.{cls.__qualname__}: {', '.join(left)}")
            continue
        kind = "enum" if issubclass(cls, enum.Enum) else "object"
        if issubclass(cls, dict | list | set):
            kind = "container"
        for module in [cls.__module__, *old.get(cls.__module__, ())]:
            listed[kind][module].append(cls.__qualname__)
    lines = [
        "# Written by tools/generate_rules.py; read the difference before committing it.",
        f'library = "{library}"',
    ]
    verbs = {"object": '["newobj", "build"]', "container": '["newobj", "build", "mutated"]', "enum": '["reduce"]'}
    for kind, by_module in listed.items():
        if not by_module:
            continue
        reason = (
            REASONS[check]
            if kind == "object"
            else {
                "container": "A container of the library's: only made and filled.",
                "enum": "A member of an enumeration, found by its value.",
            }[kind]
        )
        lines += ["", "[[group]]", 'level = "library"', f"verbs = {verbs[kind]}"]
        lines += [f'check = "{check}"'] if check and kind == "object" else []
        lines += [f'reason = "{reason}"', 'listed = """']
        lines += [f"{module}: {' '.join(sorted(set(names)))}" for module, names in sorted(by_module.items())]
        lines += ['"""']
    (OUT / f"{key}_classes.toml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for name in sys.argv[1:] or LIBRARIES:
        write(name)
