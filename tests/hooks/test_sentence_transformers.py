"""sentence-transformers: every module in one question, and class names that lead nowhere else, in the real library."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from sentence_transformers.util import import_from_string
from transformers import AutoModel, AutoTokenizer

from nbguard import hooks
from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.report.model import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import ACTING, blind, files_below, hostile_zip, paths, push, someone, write
from transformers_tools import Person

OWN_MODULE = '''
from sentence_transformers.sentence_transformer.modules import Pooling


class MyPooling(Pooling):
    """A module of its own."""
'''


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    yield from someone(monkeypatch)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny model of three modules, as the library saves it."""
    base = write(tmp_path_factory.mktemp("base"), files_of("demo/tiny-bert"))
    torch.manual_seed(0)
    transformer = Transformer(str(base))
    dense = Dense(32, 8, activation_function=torch.nn.Tanh())
    model = SentenceTransformer(modules=[transformer, Pooling(32), dense], device="cpu")
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(str(folder), create_model_card=False)
    return files_below(folder)


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A tiny cross-encoder."""
    base = write(tmp_path_factory.mktemp("base"), files_of("demo/tiny-bert"))
    folder = tmp_path_factory.mktemp("cross")
    CrossEncoder(str(base), device="cpu").save_pretrained(str(folder))
    return files_below(folder)


@pytest.fixture(scope="module")
def pickled(files: dict[str, bytes]) -> bytes:
    """The dense module's weights as torch pickles them."""
    from safetensors.torch import load

    out = io.BytesIO()
    torch.save(load(files["2_Dense/model.safetensors"]), out)
    return out.getvalue()


def with_dense(files: dict[str, bytes], data: bytes) -> dict[str, bytes]:
    out = {k: v for k, v in files.items() if k != "2_Dense/model.safetensors"}
    return {**out, "2_Dense/pytorch_model.bin": data}


def with_activation(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    config = {**json.loads(files["2_Dense/config.json"]), "activation_function": name}
    return {**files, "2_Dense/config.json": json.dumps(config).encode()}


def with_types(files: dict[str, bytes], **types: str) -> dict[str, bytes]:
    rows = json.loads(files["modules.json"])
    for row in rows:
        row["type"] = types.get(f"of_{row['idx']}", row["type"])
    return {**files, "modules.json": json.dumps(rows).encode()}


# one question


def test_every_module_is_part_of_the_one_question(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    model = SentenceTransformer(repo, device="cpu")
    assert model.encode("a good film").shape == (8,)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert paths(person.asked[0]) >= {
        "modules.json", "config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json",
        "2_Dense/config.json", "2_Dense/model.safetensors",
    }  # fmt: skip
    AutoTokenizer.from_pretrained(repo)
    AutoModel.from_pretrained(repo)
    SentenceTransformer(repo, device="cpu")
    assert len(person.asked) == 1


def test_a_folder(person: Person, files: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, files)
    SentenceTransformer(str(tmp_path), device="cpu")
    assert len(person.asked) == 1
    assert person.asked[0].artifact.kind == "directory"


def test_a_plain_model_of_transformers(hub: Hub, person: Person) -> None:
    repo = push(hub, files_of("demo/tiny-bert"))
    assert SentenceTransformer(repo, device="cpu").encode("a good film").shape == (32,)
    assert len(person.asked) == 1


def test_a_name_of_one_word(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    hub.store.push("sentence-transformers/tiny-words", files)
    SentenceTransformer("tiny-words", device="cpu")
    assert [r.target for r in person.asked] == ["sentence-transformers/tiny-words"]


def test_guarded_and_not_the_vectors_are_the_same(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    repo = push(hub, files)
    guarded = SentenceTransformer(repo, device="cpu").encode("a good film")
    hooks.uninstall()
    assert (SentenceTransformer(repo, device="cpu").encode("a good film") == guarded).all()


def test_a_cross_encoder(hub: Hub, person: Person, cross: dict[str, bytes]) -> None:
    repo = push(hub, cross)
    assert len(CrossEncoder(repo, device="cpu").predict([("a film", "a good film")])) == 1
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]


def test_a_router_of_two_encoders(hub: Hub, person: Person, routed: dict[str, bytes]) -> None:
    model = SentenceTransformer(push(hub, routed), device="cpu")
    assert model.encode_query("a good film").shape == (8,)
    assert len(person.asked) == 1
    assert len([p for p in paths(person.asked[0]) if p.endswith("model.safetensors")]) == 2


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Queries and documents go through different tables of words."""
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    words = Tokenizer.from_str(files_of("demo/tiny-bert")["tokenizer.json"].decode())
    tables = [StaticEmbedding(words, embedding_dim=8) for _ in range(2)]
    router = Router.for_query_document(query_modules=[tables[0]], document_modules=[tables[1]])
    folder = tmp_path_factory.mktemp("routed")
    SentenceTransformer(modules=[router], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return files_below(folder)


def test_the_commit_that_was_scanned_is_the_one_that_is_loaded(
    hub: Hub, person: Person, files: dict[str, bytes]
) -> None:
    repo = push(hub, files)
    person.meanwhile = lambda: hub.store.push(repo, with_activation(files, "torch.nn.modules.linear.Identity"))
    assert isinstance(SentenceTransformer(repo, device="cpu")[2].activation_function, torch.nn.Tanh)


# pickles


def test_a_pickled_module(hub: Hub, person: Person, files: dict[str, bytes], pickled: bytes) -> None:
    SentenceTransformer(push(hub, with_dense(files, pickled)), device="cpu")
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert "2_Dense/pytorch_model.bin" in paths(person.asked[0])


@pytest.mark.parametrize("fooled", [False, True])
def test_a_hostile_pickle_in_a_module_does_not_run(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path, monkeypatch: pytest.MonkeyPatch, fooled: bool
) -> None:
    if fooled:
        blind(monkeypatch)
    else:
        person.choice = "refuse"
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        SentenceTransformer(push(hub, with_dense(files, hostile_zip(marker))), device="cpu")
    assert fooled or person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


# names that configurations give


NAMES = ["torch.utils.collect_env.main", "torch.distributed.run.main", "torch.hub.load", "torch.nn.functional.relu",
         "torch.os.system", "torch.nn.modules.module.warnings"]  # fmt: skip


@pytest.mark.parametrize("trust", [False, True])
def test_an_activation_leads_to_modules_of_networks_only(
    hub: Hub, person: Person, files: dict[str, bytes], trust: bool
) -> None:
    for name in NAMES:
        with pytest.raises(LoadBlocked):
            SentenceTransformer(push(hub, with_activation(files, name)), device="cpu", trust_remote_code=trust)


def test_the_report_says_what_an_activation_would_lead_to(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        SentenceTransformer(push(hub, with_activation(files, "torch.utils.collect_env.main")), device="cpu")
    assert person.asked[0].verdict is Verdict.DANGER
    finding = next(f for f in person.asked[0].findings if f.rule == "config.class")
    assert finding.file == "2_Dense/config.json"
    assert "torch.utils.collect_env.main" in finding.evidence


WHERE = ["of the library", "in the model's", "before release 4"]


def with_cross_activation(cross: dict[str, bytes], name: str, where: str) -> dict[str, bytes]:
    """A cross-encoder's activation stands in one of three places, by the release that wrote it."""
    config, own = json.loads(cross["config.json"]), json.loads(cross["config_sentence_transformers.json"])
    config.pop("sentence_transformers", None)
    own.pop("activation_fn", None)
    if where == "of the library":
        own["activation_fn"] = name
    elif where == "in the model's":
        config["sentence_transformers"] = {"activation_fn": name}
    else:
        config["sbert_ce_default_activation_function"] = name
    return {**cross, "config.json": json.dumps(config).encode(),
            "config_sentence_transformers.json": json.dumps(own).encode()}  # fmt: skip


@pytest.mark.parametrize("where", WHERE)
def test_an_activation_of_a_cross_encoder(hub: Hub, person: Person, cross: dict[str, bytes], where: str) -> None:
    honest = push(hub, with_cross_activation(cross, "torch.nn.modules.activation.Sigmoid", where))
    assert isinstance(CrossEncoder(honest, device="cpu").activation_fn, torch.nn.Sigmoid)
    assert person.asked[0].verdict is Verdict.SAFE
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        CrossEncoder(push(hub, with_cross_activation(cross, NAMES[0], where)), device="cpu")
    assert person.asked[1].verdict is Verdict.DANGER


@pytest.mark.parametrize("where", WHERE)
def test_a_blinded_scanner_lets_no_such_name_through(
    hub: Hub, person: Person, cross: dict[str, bytes], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch)
    for name in NAMES:
        with pytest.raises(LoadBlocked):
            CrossEncoder(push(hub, with_cross_activation(cross, name, where)), device="cpu")


@pytest.mark.parametrize(
    "name", ["sentence_transformers.base.model.torch", "sentence_transformers.util.misc.importlib",
             "sentence_transformers.util.file_io.hf_hub_download"]
)  # fmt: skip
def test_a_module_type_leads_to_modules_only(hub: Hub, person: Person, files: dict[str, bytes], name: str) -> None:
    with pytest.raises(LoadBlocked):
        SentenceTransformer(push(hub, with_types(files, of_1=name)), device="cpu")


def test_a_class_of_another_installed_package(
    hub: Hub, person: Person, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person is told, and only what was told is let in."""
    named = with_activation(files, "transformers.pytorch_utils.Conv1D")  # a module, in a package that is not listed
    with pytest.raises(TypeError):  # let in, and then it wants arguments
        SentenceTransformer(push(hub, named), device="cpu", trust_remote_code=True)
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    blind(monkeypatch)
    with pytest.raises(LoadBlocked):
        SentenceTransformer(push(hub, {**named, "extra.json": b"{}"}), device="cpu", trust_remote_code=True)


def test_a_module_of_another_installed_package(
    hub: Hub, person: Person, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = with_types(files, of_1="transformers.pytorch_utils.Conv1D")
    with pytest.raises(AttributeError):  # let in, and then it is no module of this library
        SentenceTransformer(push(hub, named), device="cpu", trust_remote_code=True)
    assert [r.verdict for r in person.asked] == [Verdict.REVIEW]
    assert "transformers.pytorch_utils.Conv1D" in {f.evidence for f in person.asked[0].findings}
    blind(monkeypatch)
    with pytest.raises(LoadBlocked):
        SentenceTransformer(push(hub, {**named, "extra.json": b"{}"}), device="cpu", trust_remote_code=True)


def test_honest_names_import_as_ever(person: Person) -> None:
    assert import_from_string("torch.nn.modules.activation.Tanh") is torch.nn.Tanh
    assert import_from_string("sentence_transformers.models.Pooling") is Pooling


# code


def test_code_of_a_module(hub: Hub, person: Person, files: dict[str, bytes]) -> None:
    own = {**with_types(files, of_1="my_module.MyPooling"), "my_module.py": OWN_MODULE.encode()}
    repo = push(hub, own)
    with pytest.raises(ValueError, match="trust_remote_code"):
        SentenceTransformer(repo, device="cpu")
    model = SentenceTransformer(repo, device="cpu", trust_remote_code=True)
    assert type(model[1]).__name__ == "MyPooling"
    assert person.asked[-1].verdict is Verdict.REVIEW
    assert {c.path for c in person.asked[-1].contract.code} == {"my_module.py"}


def test_code_that_acts_is_danger_and_does_not_run(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path
) -> None:
    person.choice = "refuse"
    own = {**with_types(files, of_1="my_module.MyPooling"), "my_module.py": (ACTING + OWN_MODULE).encode()}
    with pytest.raises(LoadBlocked):
        SentenceTransformer(push(hub, own), device="cpu", trust_remote_code=True)
    assert person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


@pytest.mark.parametrize("where", ["import", "constructor"])
def test_a_blinded_scanner_lets_no_code_act(
    hub: Hub, person: Person, files: dict[str, bytes], marker: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch)
    inside = "\n    def __init__(self, *args, **kwargs):\n        super().__init__(*args, **kwargs)\n        " + ACTING
    code = ACTING + OWN_MODULE if where == "import" else OWN_MODULE + inside
    own = {**with_types(files, of_1="my_module.MyPooling"), "my_module.py": code.encode()}
    with pytest.raises(ContractViolation):
        SentenceTransformer(push(hub, own), device="cpu", trust_remote_code=True)
    assert not marker.exists()


def test_a_library_is_not_asked(hub: Hub, person: Person, files: dict[str, bytes], marker: Path) -> None:
    """A call whose code counts as installed: what is safe loads, all else is refused."""
    assert isinstance(_from_a_library(push(hub, files)), SentenceTransformer)
    with pytest.raises(LoadBlocked):
        _from_a_library(push(hub, with_dense(files, hostile_zip(marker))))
    assert person.asked == []
    assert not marker.exists()


def _from_a_library(repo: str) -> Any:
    call = compile("result = load(repo, device='cpu')", str(json.__file__), "exec")
    names: dict[str, Any] = {"load": SentenceTransformer, "repo": repo, "__name__": "json"}
    exec(call, names)
    return names["result"]
