"""skops under the guard, in the real library: honest models of every kind of node, and what a schema can be made to do.

The hostile schemas are those that got past earlier versions of skops (CVE-2024-37065, CVE-2025-54412, CVE-2025-54413,
CVE-2025-54886 and what its maintainers wrote about them), and each way to a call that a node has.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import skops.io
from conftest import Asker
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from nbguard import LoadBlocked, hooks
from nbguard.errors import ContractViolation
from nbguard.scanners import scan

guarded = pytest.mark.usefixtures("guarded")
Node = dict[str, Any]

RNG = np.random.default_rng(0)
FEATURES = np.abs(RNG.normal(size=(40, 3)))
LABELS = (FEATURES[:, 0] > 0.5).astype(int)

MODELS: dict[str, Callable[[], Any]] = {
    "linear": lambda: LogisticRegression().fit(FEATURES, LABELS),
    "pipeline": lambda: make_pipeline(FunctionTransformer(np.log1p), StandardScaler()).fit(FEATURES),
    "forest": lambda: RandomForestClassifier(3).fit(FEATURES, LABELS),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=2).fit(FEATURES, LABELS),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=2).fit(FEATURES, LABELS),
    "losses": lambda: SGDClassifier().fit(FEATURES, LABELS),
    "neighbours": lambda: KNeighborsClassifier().fit(FEATURES, LABELS),
    "text": lambda: TfidfVectorizer().fit(["good word", "bad word"]),
    "partial": lambda: functools.partial(np.sum, axis=0),
}
DATA: dict[str, Callable[[], Any]] = {
    "containers": lambda: {"a": [1, 2.5, None, True, "x"], "t": (1, (2,)), "s": {1, 2}, 7: slice(1, 3), "b": b"\0raw"},
    "arrays": lambda: {
        "n": np.arange(5), "o": np.array([1, "a"], dtype=object), "f": np.float32(3), "d": np.dtype("f4"),
        "m": np.ma.masked_array([1, 2], [0, 1]), "sparse": scipy.sparse.eye(3).tocsr(),
    },
    "random": lambda: [np.random.default_rng(3), np.random.RandomState(1)],
}  # fmt: skip


def dump(made: Any, path: Path) -> list[str]:
    skops.io.dump(made, path)
    return list(skops.io.get_untrusted_types(file=path))


@guarded
@pytest.mark.parametrize("name", [*MODELS, *DATA])
def test_an_honest_model_loads_after_one_question(name: str, tmp_path: Path, person: Asker) -> None:
    path = tmp_path / "model.skops"
    made = {**MODELS, **DATA}[name]()
    trusted = dump(made, path)
    loaded = skops.io.load(path, trusted=trusted)
    assert type(loaded) is type(made)
    if hasattr(made, "predict"):
        assert (loaded.predict(FEATURES) == made.predict(FEATURES)).all()
    assert person.verdicts == ["review" if name in MODELS else "safe"]
    assert person.requests[0].loader == "skops.io.load"
    assert skops.io.loads(path.read_bytes(), trusted=trusted) is not None
    with path.open("rb") as stream:
        assert skops.io.load(stream, trusted=trusted) is not None


@pytest.mark.parametrize("name", MODELS)
def test_everything_that_skops_does_not_trust_by_itself_is_in_the_report(name: str, tmp_path: Path) -> None:
    untrusted = set(dump(MODELS[name](), tmp_path / "model.skops"))
    report = scan(str(tmp_path / "model.skops"))
    assert untrusted <= {use.dotted for use in report.contract.globals}
    assert report.files[0].format == "skops"
    assert [code.kind for code in report.contract.code] == ["skops"]


# --- hostile schemas


def plain(value: Any) -> Node:
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def of(loader: str, dotted: str, **more: Any) -> Node:
    module, _, name = dotted.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def several(*items: Node, kind: str = "tuple") -> Node:
    return of(f"{kind.capitalize()}Node", f"builtins.{kind}", content=list(items))


def mapping(values: dict[str, Node], types: list[Node] | None = None) -> Node:
    kinds = [of("TypeNode", "builtins.str") for _ in values] if types is None else types
    return of("DictNode", "builtins.dict", key_types=several(*kinds, kind="list"), content=values)


def archive(schema: Node, protocol: int = 2, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
        made.writestr("schema.json", json.dumps({**schema, "protocol": protocol, "_skops_version": "0.12.0"}))
    return out.getvalue()


def hostile(place: str) -> dict[str, bytes]:
    """Each makes the folder `place` if it is ever run as its author wants."""
    arguments = several(plain(place))
    command = several(plain(f"mkdir {place}"))
    pcg = {"bit_generator": of("JsonNode", "builtins.str", content='"PCG64"')}
    empty = mapping({})
    text = of("FunctionNode", "os.mkdir")
    called_by_key = mapping({place: plain(1)}, [text])
    same_id = mapping({"a": of("TypeNode", "builtins.str", __id__=5), place: plain(1)}, [
        of("TypeNode", "builtins.str"), {**text, "__id__": 5}
    ])  # fmt: skip
    caller = of("OperatorFuncNode", "operator.methodcaller", attrs=several(plain("mkdir"), plain(place)))
    hidden = {**caller, "__module__": "sklearn.linear_model"}
    method = of("MethodNode", "collections.OrderedDict", content={
        "func": "__reduce__", "obj": of("ObjectNode", "collections.OrderedDict")
    })  # fmt: skip
    generator = of("RandomGeneratorNode", "numpy.random._generator.Generator", content={
        "bit_generator": mapping({"bit_generator": plain("seed")}), "seed_seq": empty
    })  # fmt: skip
    twice = of("RandomGeneratorNode", "numpy.random._generator.Generator", content={
        "bit_generator": {**mapping(pcg), "__id__": 9}, "seed_seq": empty
    })  # fmt: skip
    remembered = {**mapping({"bit_generator": plain("set_bit_generator")}), "__id__": 9}
    partial = {"func": text, "args": arguments, "kwds": empty, "namespace": plain(None)}
    return {
        "a constructor": archive(of("ConstructorFromReduceNode", "os.mkdir", content=arguments)),
        "a shell": archive(of("ConstructorFromReduceNode", "os.system", content=command)),
        "a loss function": archive(of("LossNode", "os.mkdir", __reduce__={"args": arguments}, content=empty)),
        "a sequence": archive(of("ListNode", "subprocess.Popen", content=[plain("mkdir"), plain(place)])),
        "a set": archive(of("SetNode", "os.system", content=[plain(place)])),
        "a named tuple": archive(of("TupleNode", "builtins.exec", content=[plain("1")])),
        "an array": archive(
            of("NdArrayNode", "subprocess.Popen", type="json", content=[plain("mkdir")], shape=several(plain(1)))
        ),
        "a dictionary": archive({**mapping({}), "__module__": "pty", "__class__": "spawn"}),
        "the type of a key": archive(called_by_key),
        "an id that stands for two": archive(same_id),
        "a state": archive(several(of("RandomStateNode", "pty.spawn", content=empty), kind="list")),
        "methodcaller": archive(caller),
        "methodcaller under another name": archive(hidden),
        "attrgetter": archive(of("OperatorFuncNode", "operator.attrgetter", attrs=several(plain("__globals__")))),
        "a method": archive(method),
        "a generator that is none": archive(generator, 1),
        "a generator remembered": archive(several(remembered, twice, kind="list")),
        "a partial": archive(of("PartialNode", "functools.partial", content=partial)),
        "an old function": archive(
            of("FunctionNode", "numpy.log1p", content={"module_path": "os", "function": "system"}), 0
        ),
        "an object of a program": archive(of("ObjectNode", "antigravity.anything")),
    }


@guarded
@pytest.mark.parametrize("name", sorted(hostile("")))
def test_a_schema_that_calls_is_a_danger_and_nothing_of_it_runs(
    name: str, tmp_path: Path, person: Asker, marker: Path
) -> None:
    data = hostile(str(marker))[name]
    person.choice = "refuse"
    everything = ["os.mkdir", "os.system", "subprocess.Popen", "builtins.exec", "pty.spawn", "operator.methodcaller"]
    with pytest.raises(LoadBlocked):
        skops.io.loads(data, trusted=everything)
    assert set(person.verdicts) <= {"danger", "review"}  # what has two readings is not even asked about
    if name in ("a partial", "an object of a program"):
        assert person.verdicts  # it does nothing yet, or names a class of a module: shown, and refused
    assert not marker.exists()


@guarded
@pytest.mark.usefixtures("fooled")
@pytest.mark.parametrize("name", sorted(hostile("")))
def test_with_a_blinded_scanner_the_walls_hold(name: str, person: Asker, marker: Path) -> None:
    data = hostile(str(marker))[name]
    trusted = _asked_for(data)
    try:
        loaded = skops.io.loads(data, trusted=trusted)
    except Exception:  # noqa: BLE001 - refused by a wall, or by what skops itself checks
        loaded = None
    assert name == "a partial" or loaded is None or type(loaded) in (dict, list)
    assert not marker.exists()


def _asked_for(data: bytes) -> list[str]:
    """What a person would pass who trusts whatever skops asks for."""
    try:
        return list(skops.io.get_untrusted_types(data=data))
    except Exception:  # noqa: BLE001 - this skops already refuses the file
        return []


@guarded
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (archive(of("ShellNode", "os.system")), "not known here"),
        (archive(of("NdArrayNode", "numpy.ndarray", type="numpy", file="gone.npy")), "which is not there"),
        (archive(of("CachedNode", "builtins.list", __id__=3)), "not there"),
        (archive(plain(1), protocol=-1), "protocol"),
        (archive(of("JsonNode", "builtins.str", content="{")), "no JSON"),
        (archive(functools.reduce(lambda inner, _: several(inner), range(300), plain(1))), "too deeply"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_not_loaded(data: bytes, why: str, person: Asker) -> None:
    with pytest.raises(LoadBlocked, match=why):
        skops.io.loads(data)
    assert person.reports == []


@guarded
def test_a_tree_whose_children_lead_out_of_it_is_a_danger(tmp_path: Path, person: Asker) -> None:
    """skops does not look into the arrays of a tree; predict follows them without looking."""
    path = tmp_path / "forest.skops"
    trusted = dump(MODELS["forest"](), path)
    out = io.BytesIO()
    changed = False
    with zipfile.ZipFile(path) as honest, zipfile.ZipFile(out, "w") as made:
        for name in honest.namelist():
            data = bytearray(honest.read(name))
            if name.endswith(".npy") and b"left_child" in data[:300] and not changed:
                start = data.index(b"\n", 10) + 1
                data[start : start + 8] = (10**9).to_bytes(8, "little")
                changed = True
            made.writestr(name, bytes(data))
    assert changed
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        skops.io.loads(out.getvalue(), trusted=trusted)
    assert person.verdicts == ["danger"]


@guarded
def test_pickles_hidden_as_arrays_and_two_schemas_in_one_file_are_seen(person: Asker) -> None:
    loader = of("NdArrayNode", "numpy.ndarray", type="numpy", file="a.npy")
    evil = b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(127) + b"\n"
    data = archive(loader, **{"a.npy": evil + b"cos\nsystem\n(S'true'\ntR."})
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        skops.io.loads(data)
    assert person.verdicts == ["danger"]
    out = io.BytesIO(archive(plain(1)))
    with zipfile.ZipFile(out, "a") as made, pytest.warns(UserWarning, match="Duplicate name"):
        made.writestr("schema.json", json.dumps({**plain(2), "protocol": 2}))
    with pytest.raises(LoadBlocked):
        skops.io.loads(out.getvalue())


@guarded
def test_what_skops_resolves_past_a_load_is_held_too(person: Asker) -> None:
    from skops.io._audit import get_tree
    from skops.io._utils import LoadContext

    node = get_tree(of("FunctionNode", "os.system"), LoadContext(None, 2), trusted=["os.system"])  # type: ignore[arg-type]
    with pytest.raises(LoadBlocked, match=r"os\.system"):
        node.construct()
    assert person.reports == []


def test_everything_is_given_back() -> None:
    from skops.io import _utils

    before = _utils._import_obj.__code__
    hooks.install()
    assert _utils._import_obj.__code__ is not before
    hooks.uninstall()
    assert _utils._import_obj.__code__ is before
    assert issubclass(ContractViolation, LoadBlocked)
