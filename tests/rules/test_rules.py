"""The rule data: every entry has a reason, exact names, and a check that exists."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from nbguard import rules
from nbguard.scanners import pickle_arguments


def test_every_rule_has_a_reason_a_level_and_a_check_that_exists() -> None:
    known = {"", *pickle_arguments.CALLS, *pickle_arguments.BUILDS}
    for (module, name), rule in rules.listed().items():
        assert rule.level in ("data", "library"), (module, name)
        assert len(rule.reason) > 15, (module, name)
        assert rule.check in known, (module, name, rule.check)
        assert all(part.isidentifier() for part in (*module.split("."), *name.split("."))), (module, name)


def test_free_globals_are_few_and_are_checked_for_endless_contents_alone() -> None:
    free = {key: rule for key, rule in rules.listed().items() if rule.free}
    assert 10 < len(free) < 50
    assert {rule.check for rule in free.values()} <= {"", "container", "iterable"}
    assert {rule.level for rule in free.values()} == {"data"}
    assert rules.lookup("collections", "OrderedDict") in free.values()


NEVER = """
operator.methodcaller operator.attrgetter builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.type
builtins.map builtins.super functools.reduce cloudpickle.cloudpickle._make_function cloudpickle.cloudpickle.subimport
cloudpickle.cloudpickle.dynamic_subimport cloudpickle.cloudpickle._builtin_type
cloudpickle.cloudpickle._make_skeleton_class dill._dill._create_code dill._dill._create_function
dill._dill._import_module dill._dill._eval_repr dill._dill._get_attr dill._dill._create_filehandle
torch.multiprocessing.reductions.rebuild_storage_fd multiprocessing.managers.RebuildProxy
numpy.lib._datasource.DataSource torch.utils.data.datapipes.datapipe._IterDataPipeSerializationWrapper
copyreg.add_extension os.system posix.system subprocess.Popen builtins.open nbguard.uninstall
""".split()  # noqa: SIM905


@pytest.mark.parametrize("dotted", NEVER)
def test_what_is_never_allowed_is_a_gadget_and_in_no_list(dotted: str) -> None:
    module, _, name = dotted.rpartition(".")
    assert rules.lookup(module, name) is None
    trap = rules.gadget(module, name)
    assert trap is not None
    assert trap.what
    assert trap.why


def test_names_are_exact_and_gadgets_reach_into_packages() -> None:
    assert rules.lookup("collections", "OrderedDict.fromkeys") is None
    assert rules.lookup("collections.abc", "OrderedDict") is None
    assert rules.gadget("subprocess.anything", "x") is not None
    assert rules.gadget("os", "path.join") is not None
    assert rules.gadget("subprocessing", "x") is None
    assert rules.gadget("collections", "OrderedDict") is None


def test_old_spellings_are_listed() -> None:
    for module, name in [
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"), ("__builtin__", "set"),
        ("copy_reg", "_reconstructor"), ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("sklearn.svm.classes", "SVC"), ("sklearn.ensemble.forest", "RandomForestClassifier"),
        ("sklearn.tree.tree", "DecisionTreeClassifier"), ("pandas.core.indexes.numeric", "Int64Index"),
    ]:  # fmt: skip
        assert rules.lookup(module, name) is not None, (module, name)


def test_the_restricted_machine_of_torch_knows_what_the_rules_say_it_does() -> None:
    from torch._weights_only_unpickler import _get_allowed_globals

    known = set(_get_allowed_globals())
    for (module, name), rule in rules.listed().items():
        if rule.weights_only:
            assert f"{module}.{name}" in known or module in ("__builtin__", "exceptions"), (module, name)


def test_the_version_is_a_digest_of_the_data() -> None:
    assert rules.version() == rules.VERSION
    assert len(rules.VERSION) == 16


def test_reading_rules_and_scanning_imports_nothing_heavy() -> None:
    code = (
        "import sys, pickle\n"
        "from nbguard.scanners.pickle import scan_stream\n"
        "scan_stream(pickle.dumps({'a': 1}), file='x')\n"
        "heavy = {'torch', 'numpy', 'pandas', 'joblib', 'transformers', 'fickling', 'sqlalchemy', 'rich'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_free_classes_cannot_be_changed_by_a_program() -> None:
    """Where only names are looked at, BUILD on the class itself would change it for the whole process."""
    for module, name in (key for key, rule in rules.listed().items() if rule.free):
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):  # the spelling of another version
            continue
        with pytest.raises((TypeError, AttributeError)):
            found.nbguard_probe = 1
