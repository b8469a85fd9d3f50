"""`from_pretrained` and `pipeline`: one question for a commit, and nothing else than what was accepted is loaded."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub
from loopback_hub.catalogue import files_of

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from transformers import AutoConfig, AutoModel, AutoTokenizer, BertModel, pipeline  # noqa: E402 - bound before the guard

import nbguard  # noqa: E402
from nbguard import hooks  # noqa: E402
from nbguard.errors import ContractViolation, LoadBlocked, TargetError  # noqa: E402
from nbguard.hooks import walk  # noqa: E402
from nbguard.report.model import Verdict  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from transformers_tools import Person, blinded, forget_modules, fresh, modules_cache  # noqa: E402


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """The guard is on, and somebody is there to answer."""
    someone = Person()
    monkeypatch.setattr(walk, "ask", someone)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    hooks.install()
    yield someone
    hooks.uninstall()
    forget_modules()


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a payload would write."""
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


@pytest.fixture
def fooled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scanner says of everything that it is explained data."""
    honest = walk.scan
    monkeypatch.setattr(walk, "scan", lambda request, opened: blinded(honest(request, opened)))


# one question


def test_configuration_tokenizer_model_and_pipeline_of_one_commit_are_one_question(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    config = AutoConfig.from_pretrained(repo)
    tokenizer = AutoTokenizer.from_pretrained(repo)
    model = AutoModel.from_pretrained(repo)
    answer = pipeline("text-classification", repo)("a good film")
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
    assert config.hidden_size == 32
    assert tokenizer("a good film")["input_ids"]
    assert isinstance(model, BertModel)
    assert answer[0]["label"] in ("NEGATIVE", "POSITIVE")


def test_another_commit_is_another_question(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    AutoConfig.from_pretrained(repo)
    hub.store.push(repo, {**files_of("demo/tiny-bert"), "extra.json": b"{}"})
    AutoConfig.from_pretrained(repo)
    assert len(person.asked) == 2
    assert person.asked[0].artifact.commit != person.asked[1].artifact.commit


def test_a_refusal_loads_nothing_and_is_final_for_the_call(hub: Hub, person: Person) -> None:
    person.choice = "refuse"
    repo = fresh(hub, "demo/tiny-bert")
    with pytest.raises(LoadBlocked, match="Refused"):
        pipeline("text-classification", repo)
    assert len(person.asked) == 1
    person.choice = "once"
    assert isinstance(AutoModel.from_pretrained(repo), BertModel)


def test_code_turns_up_later_and_is_asked_about(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        AutoModel.from_pretrained(repo)  # no question on standard input, whatever transformers would like
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE, Verdict.REVIEW]
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert len(person.asked) == 2


def test_the_commit_that_was_scanned_is_the_one_that_is_loaded(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    scanned = hub.store.resolve(repo, "main")
    other = {**files_of("demo/tiny-bert"), "config.json": b'{"model_type": "bert", "hidden_size": 64}'}
    person.meanwhile = lambda: hub.store.push(repo, other)
    model = AutoModel.from_pretrained(repo)
    assert model.config.hidden_size == 32
    assert person.asked[0].artifact.commit == scanned


# honest loads give what they give without the guard


@pytest.mark.parametrize("demo", ["demo/tiny-bert", "demo/tiny-bert-bin"])
def test_honest_weights(hub: Hub, person: Person, demo: str) -> None:
    repo = fresh(hub, demo)
    guarded = AutoModel.from_pretrained(repo).state_dict()
    hooks.uninstall()
    plain = AutoModel.from_pretrained(repo).state_dict()
    assert guarded.keys() == plain.keys()
    assert all(torch.equal(guarded[k], plain[k]) for k in plain)


def test_only_the_weights_that_would_be_opened_are_fetched(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert", pytorch_model__bin=files_of("hostile/fast-sentiment")["pytorch_model.bin"])
    AutoModel.from_pretrained(repo)
    assert "pytorch_model.bin" not in {f.path for f in person.asked[0].files}
    assert "pytorch_model.bin" in {n.path for n in person.asked[0].not_scanned}
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo, use_safetensors=False)


def test_a_folder(person: Person, tmp_path: Path) -> None:
    for name, data in files_of("demo/tiny-bert").items():
        (tmp_path / name).write_bytes(data)
    assert isinstance(AutoModel.from_pretrained(tmp_path), BertModel)
    AutoTokenizer.from_pretrained(str(tmp_path))
    assert len(person.asked) == 1
    assert person.asked[0].artifact.kind == "directory"
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    AutoModel.from_pretrained(tmp_path)
    assert len(person.asked) == 2  # a file that was accepted has other bytes now


def test_a_library_is_not_asked_and_gets_what_is_safe(hub: Hub, person: Person, tmp_path: Path) -> None:
    repo, bad = fresh(hub, "demo/tiny-bert"), fresh(hub, "demo/tiny-custom")
    assert isinstance(_from_a_library(repo), BertModel)
    with pytest.raises(LoadBlocked):
        _from_a_library(bad, trust_remote_code=True)
    assert person.asked == []


def _from_a_library(repo: str, **arguments: Any) -> Any:
    """A call whose code counts as installed: it is compiled under the file name of a library."""
    import json as library

    call = compile("result = load(repo, **arguments)", str(library.__file__), "exec")
    names: dict[str, Any] = {
        "load": AutoModel.from_pretrained, "repo": repo, "arguments": arguments, "__name__": "json",
    }  # fmt: skip
    exec(call, names)
    return names["result"]


# hostile repositories


@pytest.mark.parametrize("demo", ["hostile/fast-sentiment", "hostile/two-faced", "hostile/truncated"])
def test_hostile_pickles_do_not_run(hub: Hub, person: Person, marker: Path, demo: str) -> None:
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(fresh(hub, demo))
    assert not marker.exists()


@pytest.mark.usefixtures("fooled")
@pytest.mark.parametrize("demo", ["hostile/fast-sentiment", "hostile/two-faced"])
@pytest.mark.parametrize("weights_only", [True, False])
def test_a_blinded_scanner_lets_no_payload_run(
    hub: Hub, person: Person, marker: Path, demo: str, weights_only: bool
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whichever wall or loader stops it
        AutoModel.from_pretrained(fresh(hub, demo), weights_only=weights_only)
    assert not marker.exists()


def test_markup_in_names_is_only_text(hub: Hub, person: Person) -> None:
    AutoModel.from_pretrained(fresh(hub, "hostile/loud-names"))
    assert person.asked


def test_weights_swapped_between_scan_and_load_do_not_run(person: Person, marker: Path, tmp_path: Path) -> None:
    for name, data in files_of("demo/tiny-bert-bin").items():
        (tmp_path / name).write_bytes(data)
    hostile = files_of("hostile/fast-sentiment")["pytorch_model.bin"]
    person.meanwhile = lambda: (tmp_path / "pytorch_model.bin").write_bytes(hostile)
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(tmp_path, weights_only=False)
    assert not marker.exists()


# code of a repository


def test_accepted_code_runs(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    model = AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert type(model).__name__ == "TinyModel"
    assert model(torch.zeros((1, 3), dtype=torch.long)).shape == (1, 2)
    assert {c.path for c in person.asked[0].contract.code} == {
        "configuration_tiny.py", "layers_tiny.py", "modeling_tiny.py",
    }  # fmt: skip


def test_code_that_acts_at_import_is_danger(hub: Hub, person: Person, marker: Path) -> None:
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(fresh(hub, "hostile/tiny-custom-pro"), trust_remote_code=True)
    assert person.asked[0].verdict is Verdict.DANGER
    assert not marker.exists()


@pytest.mark.usefixtures("fooled")
@pytest.mark.parametrize(
    "acting",
    [
        "import os; os.system('echo ran > \"$NBGUARD_DEMO_MARKER\"')",
        "import os; open(os.environ['NBGUARD_DEMO_MARKER'], 'w')",
        "import os, subprocess; subprocess.run(['touch', os.environ['NBGUARD_DEMO_MARKER']])",
        "exec(\"import os; os.mkdir(os.environ['NBGUARD_DEMO_MARKER'])\")",
        "import threading, os; threading.Thread(target=os.mkdir, args=(os.environ['NBGUARD_DEMO_MARKER'],)).start()",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import ctypes; ctypes.CDLL(None).getpid()",
        # code that claims to be the import system, or an installed library that is being imported
        "import os; exec(compile('os.mkdir(os.environ[\"NBGUARD_DEMO_MARKER\"])', os.__file__, 'exec'))",
        "import os; eval(compile('os.mkdir(os.environ[\"NBGUARD_DEMO_MARKER\"])', '<frozen importlib._x>', 'eval'))",
        "import codeop, os; codeop.compile_command('1', os.__file__)",
        "import os; f = (lambda: os.mkdir(os.environ['HOME'])).__code__.replace(co_filename=os.__file__)",
        "import marshal; marshal.loads(marshal.dumps(1))",
        "import os, runpy; runpy.run_path(os.path.join(os.path.dirname(__file__), 'layers_tiny.py')); "
        "os.mkdir(os.environ['NBGUARD_DEMO_MARKER'])",
        "import os; __name__ = 'nbguard.hooks.walls.code'; os.mkdir(os.environ['NBGUARD_DEMO_MARKER'])",
    ],
)
def test_the_effects_of_accepted_code_are_held_to_the_contract(
    hub: Hub, person: Person, marker: Path, acting: str
) -> None:
    source = files_of("demo/tiny-custom")["modeling_tiny.py"] + f"\n{acting}\n".encode()
    with pytest.raises(ContractViolation, match="while it was imported"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom", modeling_tiny__py=source), trust_remote_code=True)
    assert not marker.exists()


@pytest.mark.usefixtures("fooled")
@pytest.mark.parametrize(
    "acting",
    [
        "os.mkdir(os.environ['NBGUARD_DEMO_MARKER'])",
        "__import__('shutil').copy(__file__, os.environ['NBGUARD_DEMO_MARKER'])",
        "(lambda: open(os.environ['NBGUARD_DEMO_MARKER'], 'w'))()",
    ],
)
def test_the_effects_of_a_constructor_are_held_to_the_contract(
    hub: Hub, person: Person, marker: Path, acting: str
) -> None:
    source = b"import os\n" + files_of("demo/tiny-custom")["modeling_tiny.py"].replace(
        b"super().__init__(config)\n", b"super().__init__(config)\n        " + acting.encode() + b"\n"
    )
    with pytest.raises(ContractViolation, match="while the model was built"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom", modeling_tiny__py=source), trust_remote_code=True)
    assert not marker.exists()


@pytest.mark.usefixtures("fooled")
def test_byte_code_with_a_borrowed_name_does_not_run(hub: Hub, person: Person, marker: Path, tmp_path: Path) -> None:
    """A `.pyc` without source says itself where it comes from, and may say that it is a library."""
    import importlib.util
    import marshal
    import os

    borrowed = compile(f"import os; os.mkdir({str(marker)!r})", os.__file__, "exec")
    (tmp_path / "borrowed.pyc").write_bytes(importlib.util.MAGIC_NUMBER + b"\0" * 12 + marshal.dumps(borrowed))
    acting = (
        f"\nimport sys; sys.path.insert(0, {str(tmp_path)!r})\nimport importlib; importlib.import_module('borrowed')\n"
    ).encode()
    source = files_of("demo/tiny-custom")["modeling_tiny.py"] + acting
    with pytest.raises(ContractViolation, match="while it was imported"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom", modeling_tiny__py=source), trust_remote_code=True)
    sys.path.remove(str(tmp_path))
    assert not marker.exists()


@pytest.mark.usefixtures("fooled")
def test_a_constructor_under_a_borrowed_name(hub: Hub, person: Person, marker: Path) -> None:
    source = b"import os\n" + files_of("demo/tiny-custom")["modeling_tiny.py"].replace(
        b"super().__init__(config)\n",
        b"super().__init__(config)\n        os.mkdir(os.environ['NBGUARD_DEMO_MARKER'])\n",
    )
    source += b"\n__name__ = 'nbguard.hooks.walk'\n"
    with pytest.raises(ContractViolation, match="while the model was built"):
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom", modeling_tiny__py=source), trust_remote_code=True)
    assert not marker.exists()


def test_a_constructor_may_load_another_model(hub: Hub, person: Person) -> None:
    backbone = fresh(hub, "demo/tiny-bert")
    source = files_of("demo/tiny-custom")["modeling_tiny.py"].replace(
        b"super().__init__(config)\n",
        b"super().__init__(config)\n        from transformers import AutoTokenizer\n"
        b"        self.words = AutoTokenizer.from_pretrained('" + backbone.encode() + b"')\n",
    )
    model = AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom", modeling_tiny__py=source), trust_remote_code=True)
    assert model.words("a good film")["input_ids"]
    assert len(person.asked) == 2
    assert person.asked[1].target == backbone


def test_what_honest_modules_do_at_import_passes(hub: Hub, person: Person) -> None:
    source = files_of("demo/tiny-custom")["modeling_tiny.py"] + (
        b"\nimport collections, dataclasses, enum, functools, typing\n"
        b"from transformers.utils import ModelOutput, logging\n"
        b"logger = logging.get_logger(__name__)\n"
        b"import os; os.environ['TOKENIZERS_PARALLELISM'] = 'false'\n"
        b"import torch\n"
        b"Pair = collections.namedtuple('Pair', 'a b')\n"
        b"@dataclasses.dataclass\nclass Out(ModelOutput):\n    logits: typing.Optional[torch.Tensor] = None\n"
        b"class Kind(enum.Enum):\n    A = 1\n"
        b"class Named(typing.NamedTuple):\n    a: int = 1\n"
        b"@functools.lru_cache\ndef cached():\n    return 1\n"
        b"@torch.jit.script\ndef scripted(x: torch.Tensor):\n    return x + 1\n"
        b"@torch.no_grad()\ndef quiet(x):\n    return x\n"
    )
    repo = fresh(hub, "demo/tiny-custom", modeling_tiny__py=source)
    assert type(AutoModel.from_pretrained(repo, trust_remote_code=True)).__name__ == "TinyModel"


def loaded_and_tampered(hub: Hub, name: str) -> tuple[str, Path]:
    """A repository whose code lies in the modules cache, and one file of it there, as another kernel finds it."""
    repo = fresh(hub, "demo/tiny-custom")
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    forget_modules()
    _forget_classes()
    (file,) = modules_cache().rglob(f"{repo.split('/')[1].replace('-', '_hyphen_')}/*/{name}")
    return repo, file


def _forget_classes() -> None:
    """Auto classes remember classes that they were given; a new kernel would not."""
    mapping = AutoModel._model_mapping._extra_content
    for config in [c for c in mapping if c.__module__.startswith("transformers_modules")]:
        del mapping[config]


@pytest.mark.parametrize("name", ["modeling_tiny.py", "layers_tiny.py", "configuration_tiny.py"])
def test_a_tampered_modules_cache_does_not_run(hub: Hub, person: Person, marker: Path, name: str) -> None:
    repo, file = loaded_and_tampered(hub, name)
    file.write_text(f"open({str(marker)!r}, 'w')\n{file.read_text()}")
    with pytest.raises(ContractViolation) as stopped:
        AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert name in str(stopped.value)
    assert "sha256" in str(stopped.value)
    assert not marker.exists()


def test_a_poisoned_pyc_does_not_run(hub: Hub, person: Person, marker: Path) -> None:
    import importlib.util
    import marshal
    import struct

    repo, file = loaded_and_tampered(hub, "layers_tiny.py")
    seen = file.stat()
    poison = compile(f"open({str(marker)!r}, 'w')", str(file), "exec")
    header = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, int(seen.st_mtime), seen.st_size)
    compiled = Path(importlib.util.cache_from_source(str(file)))
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_bytes(header + marshal.dumps(poison))
    assert type(AutoModel.from_pretrained(repo, trust_remote_code=True)).__name__ == "TinyModel"
    assert not marker.exists()


def test_a_native_module_in_the_cache_is_not_imported(hub: Hub, person: Person) -> None:
    _, file = loaded_and_tampered(hub, "layers_tiny.py")
    import math

    shutil.copy(str(math.__file__), file.parent / "math_extra.so") if hasattr(math, "__file__") else None
    (file.parent / "math_extra.pyc").write_bytes(b"")
    parts = (*file.relative_to(modules_cache()).parts[:-1], "math_extra")
    with pytest.raises(ModuleNotFoundError):
        __import__(".".join(parts))


def test_code_changed_on_the_hub_is_asked_about(hub: Hub, person: Person, marker: Path) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    files = files_of("demo/tiny-custom")
    files["layers_tiny.py"] = f"open({str(marker)!r}, 'w')\n".encode() + files["layers_tiny.py"]
    hub.store.push(repo, files)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert len(person.asked) == 2
    assert not marker.exists()


def test_code_of_a_folder_swapped_between_scan_and_load_does_not_run(
    person: Person, marker: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model_here"
    folder.mkdir()
    for name, data in files_of("demo/tiny-custom").items():
        (folder / name).write_bytes(data)
    bad = f"open({str(marker)!r}, 'w')\n"
    person.meanwhile = lambda: (folder / "layers_tiny.py").write_text(bad + (folder / "layers_tiny.py").read_text())
    with pytest.raises(ContractViolation):
        AutoModel.from_pretrained(folder, trust_remote_code=True)
    assert not marker.exists()


def test_code_of_another_repository_is_pinned_and_part_of_the_question(hub: Hub, person: Person) -> None:
    lender = fresh(hub, "demo/tiny-custom")
    config = files_of("demo/tiny-custom")["config.json"].replace(
        b'"modeling_tiny.', f'"{lender}--modeling_tiny.'.encode()
    )
    config = config.replace(b'"configuration_tiny.', f'"{lender}--configuration_tiny.'.encode())
    repo = fresh(
        hub, "demo/tiny-bert", config__json=config, model__safetensors=files_of("demo/tiny-custom")["model.safetensors"]
    )
    changed = {**files_of("demo/tiny-custom"), "layers_tiny.py": b"raise SystemExit"}
    person.meanwhile = lambda: hub.store.push(lender, changed)
    model = AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert type(model).__name__ == "TinyModel"
    assert len(person.asked) == 1
    assert {c.path for c in person.asked[0].contract.code} == {
        f"{lender}/configuration_tiny.py", f"{lender}/layers_tiny.py", f"{lender}/modeling_tiny.py",
    }  # fmt: skip


def test_from_config_asks_about_the_code_that_it_runs(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    config = AutoConfig.from_pretrained(repo, trust_remote_code=True)
    before = len(person.asked)
    assert type(AutoModel.from_config(config, trust_remote_code=True)).__name__ == "TinyModel"
    assert before == len(person.asked) == 1
    _forget_classes()
    bad = fresh(hub, "hostile/tiny-custom-pro")
    config.name_or_path = config._name_or_path = bad
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_config(config, trust_remote_code=True)


def test_where_the_site_only_observes_nothing_is_stopped_and_everything_is_noted(
    hub: Hub, person: Person, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.approvals import AuditLog

    monkeypatch.setenv("NBGUARD_MODE", "observe")
    model = AutoModel.from_pretrained(fresh(hub, "hostile/tiny-custom-pro"), trust_remote_code=True)
    assert type(model).__name__ == "TinyModel"
    assert marker.exists()
    assert person.asked == []
    assert any(e["event"] == "load.not_stopped" for e in AuditLog().entries())


def test_a_library_that_swallows_the_refusal_does_not_turn_it(hub: Hub, person: Person) -> None:
    """`pipeline` tries several classes and catches what goes wrong with each."""
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        pipeline("text-classification", fresh(hub, "hostile/fast-sentiment"))
    assert len(person.asked) == 1


def test_an_adapter_and_its_base_model_are_pinned_each_to_its_own_commit(hub: Hub, person: Person) -> None:
    from nbguard.hooks.loaders.repository import loading

    adapter, base = fresh(hub, "demo/tiny-bert"), fresh(hub, "demo/tiny-bert-bin")
    with loading("AutoModel.from_pretrained", {"revision": "main"}) as load:
        first = load.admit(adapter, revision="main")
        second = load.admit(base, revision=first)  # as transformers hands it on
        hub.store.push(base, {"config.json": b"{}"})
        assert load.admit(base, revision=first) == second
    assert (first, second) == (hub.store.resolve(adapter, "main"), person.asked[1].artifact.commit)


def test_custom_generate_goes_the_same_way(hub: Hub, person: Person, marker: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    repo = fresh(hub, "demo/tiny-bert")
    generate = b"def generate(model, **kwargs):\n    return 'generated'\n"
    hub.store.push(repo, {"custom_generate/generate.py": generate, "config.json": b"{}"})
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertLMHeadModel(BertConfig(vocab_size=9, is_decoder=True, **sizes))
    ids = torch.zeros((1, 2), dtype=torch.long)
    assert model.generate(ids, custom_generate=repo, trust_remote_code=True) == "generated"
    assert [c.path for c in person.asked[0].contract.code] == ["custom_generate/generate.py"]
    hub.store.push(repo, {"custom_generate/generate.py": f"open({str(marker)!r}, 'w')\n".encode() + generate})
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        model.generate(ids, custom_generate=repo, trust_remote_code=True)
    assert not marker.exists()


# what is not there


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("demo/nothing-at-all", "There is no repository demo/nothing-at-all"),
        ("./no/such/folder", r"^There is no folder \./no/such/folder\.$"),
        ("runs/tiny/checkpoint-2", r"^There is no folder runs/tiny/checkpoint-2\.$"),
        ("~/nope", r"^There is no folder ~/nope\.$"),
        ("demo/no name", "is not the name of a repository"),
    ],
)
def test_one_sentence_for_what_is_not_there(person: Person, hub: Hub, source: str, words: str) -> None:
    with pytest.raises(TargetError, match=words) as stopped:
        AutoModel.from_pretrained(source)
    assert isinstance(stopped.value, OSError)  # what transformers raises, for code that expects it
    assert person.asked == []


def test_a_missing_folder_is_a_missing_file_to_other_code(person: Person, hub: Hub, tmp_path: Path) -> None:
    missing = str(tmp_path / "nope")
    with pytest.raises(FileNotFoundError) as stopped:
        AutoTokenizer.from_pretrained(missing)
    assert (stopped.value.errno, stopped.value.filename) == (errno.ENOENT, missing)
    assert str(stopped.value) == f"There is no folder {missing}."


def test_a_name_below_a_folder_that_is_there_is_said_both_ways(
    person: Person, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=r"There is no folder runs/nope here.*no repository runs/nope"):
        AutoModel.from_pretrained("runs/nope")


def test_no_network(person: Person, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from huggingface_hub import constants

    repo = fresh(hub, "demo/tiny-bert")
    AutoModel.from_pretrained(repo)
    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(TargetError, match="cannot be reached"):
            AutoModel.from_pretrained("demo/never-cached")
        assert isinstance(AutoModel.from_pretrained(repo), BertModel)  # from the cache, as without the guard
        assert isinstance(AutoModel.from_pretrained(repo, local_files_only=True), BertModel)


# on and off


def test_nobody_there_and_nothing_known_to_be_harmless(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    with pytest.raises(LoadBlocked) as stopped:
        AutoModel.from_pretrained(fresh(hub, "demo/tiny-custom"), trust_remote_code=True)
    assert person.asked == []
    assert stopped.value.report is not None
    assert stopped.value.report.verdict is Verdict.REVIEW


def test_uninstalling_gives_everything_back(hub: Hub) -> None:
    functions = [
        AutoModel.from_pretrained.__func__, AutoConfig.from_pretrained.__func__, BertModel.from_pretrained.__func__,
        AutoTokenizer.from_pretrained.__func__, pipeline, transformers.utils.hub.cached_files,
    ]  # fmt: skip
    before = [(f.__code__, f.__defaults__, f.__kwdefaults__, dict(f.__dict__)) for f in functions]
    path = list(sys.meta_path)
    hooks.install()
    assert all(f.__code__ is not b[0] for f, b in zip(functions, before, strict=True))
    hooks.uninstall()
    assert [(f.__code__, f.__defaults__, f.__kwdefaults__, dict(f.__dict__)) for f in functions] == before
    assert sys.meta_path == path


def test_a_class_imported_later_is_guarded_too(hub: Hub, person: Person) -> None:
    from transformers import DistilBertModel  # its module is lazy, and nothing here has imported it before

    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        DistilBertModel.from_pretrained(fresh(hub, "demo/tiny-bert"))


def test_the_report_names_loader_source_and_arguments(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        walk, "ask", lambda report, decision, request: seen.append(request) or person(report, decision, request)
    )
    repo = fresh(hub, "demo/tiny-bert")
    BertModel.from_pretrained(repo, revision="main", use_safetensors=True)
    request = seen[0]
    assert (request.loader, request.source, request.kind) == ("BertModel.from_pretrained", repo, "hub")
    assert dict(request.arguments) == {"revision": "main", "use_safetensors": True}
    assert request.in_person_code
    assert dataclasses.is_dataclass(request)


def test_guard_takes_a_repository(hub: Hub, person: Person) -> None:
    """`nbguard.guard("org/name")` asks before the block begins, and not again for what the block loads of it."""
    repo = fresh(hub, "demo/tiny-bert")
    with nbguard.guard(repo) as report:
        assert report is not None
        AutoConfig.from_pretrained(repo)
        AutoModel.from_pretrained(repo)
    assert [r.verdict for r in person.asked] == [Verdict.SAFE]
