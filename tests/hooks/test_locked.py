"""`nbguard.lock` at load time: exactly what is locked loads where nobody can be asked."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub
from loopback_hub.catalogue import files_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import AutoConfig, AutoModel, AutoTokenizer  # noqa: E402 - bound before the guard

from nbguard import hooks  # noqa: E402
from nbguard.approvals import AuditLog  # noqa: E402
from nbguard.commands.lock import Wanted, lock  # noqa: E402
from nbguard.errors import LoadBlocked  # noqa: E402
from nbguard.hooks import locked, own, walk  # noqa: E402
from nbguard.hooks.loaders import repository  # noqa: E402
from nbguard.provenance.lockfile import NAME, read  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from transformers_tools import Person, forget_modules, fresh  # noqa: E402


class Named:
    """A global that only a person can judge."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload

    def __reduce__(self) -> Any:
        return self.payload


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    repository.settled.forget()
    return place


@pytest.fixture
def nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The guard is on, and nobody can be asked."""
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    monkeypatch.setattr(own, "find", lambda report, opened: None)
    hooks.install()
    yield folder
    hooks.uninstall()
    forget_modules()


@pytest.fixture
def person(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    someone = Person()
    monkeypatch.setattr(walk, "ask", someone)
    monkeypatch.setattr(walk, "tell", lambda *a: None)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    monkeypatch.setattr(own, "find", lambda report, opened: None)
    hooks.install()
    yield someone
    hooks.uninstall()
    forget_modules()


def lock_it(*targets: str, reason: str = "", danger: bool = False, revision: str | None = None) -> None:
    wanted = [Wanted(t, revision) for t in targets]
    outcomes = lock(NAME, wanted, reason=reason, accept_danger=danger, ask=None, show=False)
    assert [o.state for o in outcomes] == ["locked"] * len(targets), [o.why for o in outcomes]


def events() -> list[str]:
    return [e["event"] for e in AuditLog().entries()]


def save(path: Path, value: Any) -> None:
    hooks.uninstall()
    torch.save(value, path)
    hooks.install()


def unpickled(name: str) -> Any:
    with open(name, "rb") as file:
        return pickle.load(file)


# nobody there


def test_a_locked_repository_loads_part_by_part(hub: Hub, nobody: Path) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    lock_it(f"hf://{repo}")
    assert AutoConfig.from_pretrained(repo).hidden_size == 32
    assert AutoTokenizer.from_pretrained(repo)("a film")["input_ids"]
    assert AutoModel.from_pretrained(repo)
    assert "load.locked" in events()


def test_what_is_not_in_the_lock_is_refused_with_the_command_that_adds_it(hub: Hub, nobody: Path) -> None:
    repo, other = fresh(hub, "demo/tiny-bert"), fresh(hub, "demo/tiny-bert")
    lock_it(f"hf://{repo}")
    with pytest.raises(LoadBlocked, match=f"hf://{other} is not in nbguard.lock; to add it: nbguard lock hf://{other}"):
        AutoConfig.from_pretrained(other)
    torch_file = nobody / "x.pt"
    save(torch_file, {"a": torch.zeros(2)})
    with pytest.raises(LoadBlocked, match=r"x\.pt is not in nbguard\.lock"):
        torch.load("x.pt", weights_only=False)


def test_a_branch_that_moved_loads_the_locked_commit(hub: Hub, nobody: Path) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    lock_it(f"hf://{repo}")
    files = {**files_of("demo/tiny-bert")}
    files["config.json"] = files["config.json"].replace(b'"hidden_size": 32', b'"hidden_size": 64')
    hub.store.push(repo, files)
    assert AutoConfig.from_pretrained(repo).hidden_size == 32
    assert AutoConfig.from_pretrained(repo, revision="main").hidden_size == 32
    assert AutoModel.from_pretrained(repo).config.hidden_size == 32
    now = hub.store.resolve(repo, "main")
    with pytest.raises(LoadBlocked, match=rf"revision '{now}' was asked for, which is at commit {now[:12]}"):
        AutoConfig.from_pretrained(repo, revision=now)


def test_a_locked_commit_that_cannot_be_had_is_a_sentence(hub: Hub, nobody: Path) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    lock_it(f"hf://{repo}")
    text = Path(NAME).read_text()
    Path(NAME).write_text(text.replace(read(NAME).entries[0].commit, "0" * 40))
    with pytest.raises(OSError, match=f"The commit 000000000000 of {repo}, which nbguard.lock holds, cannot be had"):
        AutoConfig.from_pretrained(repo)


def test_code_that_was_locked_with_a_reason_runs_and_other_code_does_not(hub: Hub, nobody: Path) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    lock_it(f"hf://{repo}", reason="read by me")
    assert AutoModel.from_pretrained(repo, trust_remote_code=True)
    entry = read(NAME).entries[0]
    code = next(f for f in entry.files if f.path.endswith(".py"))
    Path(NAME).write_text(Path(NAME).read_text().replace(code.pin, "sha256:" + "0" * 64))
    forget_modules()
    repository.settled.forget()
    with pytest.raises(LoadBlocked, match=rf"is not as it was locked: {code.path} changed"):
        AutoModel.from_pretrained(repo, trust_remote_code=True)


def test_each_change_of_a_folder_is_named(nobody: Path) -> None:
    place = nobody / "bert"
    place.mkdir()
    for name, data in files_of("demo/tiny-bert").items():
        (place / name).write_bytes(data)
    lock_it("bert")
    assert read(NAME).entries[0].source == "bert"
    assert AutoModel.from_pretrained("bert")
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    repository.settled.forget()
    with pytest.raises(LoadBlocked, match=r"bert is not as it was locked: model\.safetensors: other bytes than locked"):
        AutoModel.from_pretrained("bert")
    (place / "extra_tokens.json").write_text("{}")
    (place / "generation_config.json").write_text('{"a": 1}')
    with pytest.raises(LoadBlocked, match=r"new file generation_config\.json"):
        AutoModel.from_pretrained("bert")
    assert "load.drift" in events()


def test_large_data_is_compared_by_all_of_its_bytes(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = nobody / "big.pt"
    save(file, {"a": torch.zeros(18_000_000)})
    lock_it("big.pt")
    assert read(NAME).entries[0].files[0].pin.startswith("layout:")
    assert torch.load("big.pt", weights_only=False)["a"].shape == (18_000_000,)
    data = bytearray(file.read_bytes())
    at = len(data) // 2
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(LoadBlocked, match=r"big\.pt: other bytes than locked"):
        torch.load("big.pt", weights_only=False)


def test_a_new_global_is_named(nobody: Path, tmp_path: Path) -> None:
    file = nobody / "m.pkl"
    file.write_bytes(pickle.dumps([1, 2]))
    lock_it("m.pkl")
    with file.open("rb") as opened:
        assert pickle.load(opened) == [1, 2]
    file.write_bytes(pickle.dumps(Named((os.system, (f"touch {tmp_path / 'marker'}",)))))
    with (
        pytest.raises(LoadBlocked, match=r"m\.pkl: other bytes than locked; new global posix\.system"),
        file.open("rb") as opened,
    ):
        pickle.load(opened)
    assert not (tmp_path / "marker").exists()


def test_the_same_bytes_from_memory_are_what_was_locked(nobody: Path) -> None:
    save(nobody / "m.pt", {"a": torch.zeros(3)})
    save(nobody / "other.pt", {"a": torch.ones(3)})
    lock_it("m.pt")
    assert torch.load(io.BytesIO(Path("m.pt").read_bytes()), weights_only=False)["a"].sum() == 0
    with pytest.raises(LoadBlocked, match=r"is not in nbguard\.lock"):
        torch.load(io.BytesIO(Path("other.pt").read_bytes()), weights_only=False)


def test_own_work_loads_all_the_same(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(nobody / "data"))
    monkeypatch.chdir(nobody)
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    (nobody / NAME).write_text("version = 1\n")
    own._last.until = 0.0
    torch.save({"a": torch.ones(3)}, "mine.pt")
    assert torch.equal(torch.load("mine.pt", weights_only=False)["a"], torch.ones(3))


def test_a_lock_that_cannot_be_read_lets_nothing_load(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody / "m.pkl").write_bytes(pickle.dumps([1]))
    lock_it("m.pkl")
    good = Path(NAME).read_bytes()
    for bad in (b"version = 2\n", b"\xff", b"[[", good + b'extra = "x"\n'):
        Path(NAME).write_bytes(bad)
        with pytest.raises(LoadBlocked, match="The lock cannot be used"):
            unpickled("m.pkl")
    Path(NAME).write_bytes(good)
    Path(NAME).chmod(0o666)
    with pytest.raises(LoadBlocked, match="can be written by everybody"):
        unpickled("m.pkl")
    monkeypatch.setenv(locked.VARIABLE, str(nobody / "missing.lock"))
    with pytest.raises(LoadBlocked, match=r"missing\.lock cannot be read"):
        unpickled("m.pkl")
    monkeypatch.setenv(locked.VARIABLE, "off")
    assert unpickled("m.pkl") == [1]


def test_under_a_lock_the_command_that_locks_is_named_and_none_that_approves(hub: Hub, nobody: Path) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    (nobody / NAME).write_text("version = 1\n")
    with pytest.raises(LoadBlocked) as stopped:
        AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert f'  nbguard lock hf://{repo} --reason "…"' in str(stopped.value).splitlines()
    assert "nbguard approve" not in str(stopped.value)
    (nobody / "m.pkl").write_bytes(pickle.dumps(Named((os.system, ("true",)))))
    with pytest.raises(LoadBlocked) as stopped:
        unpickled("m.pkl")
    assert '  nbguard lock m.pkl --reason "…" --i-accept-danger' in str(stopped.value).splitlines()
    assert "nbguard approve" not in str(stopped.value)


def test_no_lock_lets_load_what_the_policy_lets_nobody_approve(
    nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    file = nobody / "m.pkl"
    file.write_bytes(pickle.dumps(Named((os.system, (f"touch {marker}",)))))
    lock_it("m.pkl", reason="a test", danger=True)
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    with pytest.raises(LoadBlocked, match="allows no exception"):
        unpickled("m.pkl")
    assert not marker.exists()


def test_a_strict_policy_loads_what_is_safe_and_locked(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody / "m.pkl").write_bytes(pickle.dumps([1]))
    lock_it("m.pkl")
    monkeypatch.setenv("NBGUARD_POLICY", "strict")
    assert unpickled("m.pkl") == [1]
    text = Path(NAME).read_text()
    when = f"{read(NAME).entries[0].when:%Y-%m-%d}"
    Path(NAME).write_text(text.replace(f"when = {when}", "when = 2001-01-01"))
    with pytest.raises(LoadBlocked, match="longer ago than the policy 'strict' lets that count"):
        unpickled("m.pkl")
    Path(NAME).write_text(text.replace(f"when = {when}", "when = 2901-01-01"))
    with pytest.raises(LoadBlocked, match="still to come"):
        unpickled("m.pkl")


def test_a_snapshot_that_was_downloaded_is_what_was_locked(hub: Hub, nobody: Path) -> None:
    from huggingface_hub import snapshot_download

    repo, other = fresh(hub, "demo/tiny-bert"), fresh(hub, "demo/tiny-bert", config__json=b'{"model_type": "bert"}')
    lock_it(f"hf://{repo}")
    assert AutoModel.from_pretrained(snapshot_download(repo))
    with pytest.raises(LoadBlocked, match=r"is not as it was locked: new file config\.json|is not in nbguard"):
        AutoModel.from_pretrained(snapshot_download(other))


def test_an_adapter_and_its_base_model_are_both_held_to_the_lock(hub: Hub, nobody: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = fresh(hub, "demo/tiny-bert")
    hooks.uninstall()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], base_model_name_or_path=base)
    made = peft.get_peft_model(model, config)
    made.peft_config["default"].base_model_name_or_path = base
    made.save_pretrained(tmp_path / "adapter")
    hooks.install()
    adapter = f"{base}-adapter"
    hub.store.push(adapter, {p.name: p.read_bytes() for p in (tmp_path / "adapter").iterdir()})
    load = peft.AutoPeftModelForSequenceClassification.from_pretrained
    lock_it(f"hf://{adapter}")
    with pytest.raises(LoadBlocked, match=f"{base}, which is loaded with it, is not in"):
        load(adapter)
    lock_it(f"hf://{base}")
    repository.settled.forget()
    files = {**files_of("demo/tiny-bert")}
    files["config.json"] = files["config.json"].replace(b'"hidden_size": 32', b'"hidden_size": 64')
    hub.store.push(base, files)
    assert load(adapter).config.hidden_size == 32


def test_code_of_another_repository_is_that_of_the_locked_commit(hub: Hub, nobody: Path) -> None:
    lender = fresh(hub, "demo/tiny-custom")
    config = files_of("demo/tiny-custom")["config.json"]
    for module in (b'"modeling_tiny.', b'"configuration_tiny.'):
        config = config.replace(module, b'"' + f"{lender}--".encode() + module[1:])
    weights = files_of("demo/tiny-custom")["model.safetensors"]
    repo = fresh(hub, "demo/tiny-bert", config__json=config, model__safetensors=weights)
    lock_it(f"hf://{repo}", reason="read")
    assert read(NAME).entries[0].code_from == {lender: hub.store.resolve(lender, "main")}
    hub.store.push(lender, {**files_of("demo/tiny-custom"), "layers_tiny.py": b"raise SystemExit"})
    assert type(AutoModel.from_pretrained(repo, trust_remote_code=True)).__name__ == "TinyModel"


def test_names_from_a_model_cannot_drive_the_terminal(nobody: Path) -> None:
    (nobody / "m").mkdir()
    (nobody / "m" / "a.pkl").write_bytes(pickle.dumps([1]))
    lock_it("m")
    name = "b\x1b[2J.pkl"
    (nobody / "m" / name).write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(LoadBlocked) as stopped:
        unpickled(f"m/{name}")
    assert "\x1b" not in str(stopped.value)


def test_a_lock_that_lies_beside_the_model_is_none_of_the_script(
    nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script" / "train.py"
    script.parent.mkdir()
    script.write_text("")
    (nobody / NAME).write_text("version = 1\n")
    assert locked.place() == str(nobody / NAME)  # what runs is installed, as pytest is
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    assert locked.place() is None
    (script.parent / NAME).write_text("version = 1\n")
    assert locked.place() == str(script.parent / NAME)


# a person there


def test_a_person_is_not_asked_about_what_is_safe_and_locked(hub: Hub, person: Person) -> None:
    repo = fresh(hub, "demo/tiny-bert")
    lock_it(f"hf://{repo}")
    hub.store.push(repo, {**files_of("demo/tiny-bert"), "extra.json": b"{}"})
    AutoModel.from_pretrained(repo)
    assert person.asked == []


def test_a_person_is_asked_about_what_needs_a_look_though_it_is_locked(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = fresh(hub, "demo/tiny-custom")
    lock_it(f"hf://{repo}", reason="says the author of the notebook")
    said: list[str] = []

    def ask(report: Any, decision: Any, request: Any) -> Any:
        said.append(decision.reason)
        return person(report, decision, request)

    monkeypatch.setattr(walk, "ask", ask)
    AutoModel.from_pretrained(repo, trust_remote_code=True)
    assert len(person.asked) == 1
    assert "Locked by" in said[0]
    repository.settled.forget()
    now = hub.store.push(repo, {**files_of("demo/tiny-custom"), "extra.json": b"{}"})
    now = hub.store.resolve(repo, "main")
    AutoConfig.from_pretrained(repo, revision=now, trust_remote_code=True)
    assert f"nbguard.lock holds {read(NAME).entries[0].commit[:12]}" in said[1]


def test_a_large_locked_file_is_told_by_its_listed_digest_until_it_is_here(hub: Hub, nobody: Path) -> None:

    from loopback_hub.faults import requests

    model = AutoModel.from_config(transformers.BertConfig(
        hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=256, vocab_size=140_000
    ))  # fmt: skip
    import safetensors.torch

    weights = safetensors.torch.save({k: v.contiguous() for k, v in model.state_dict().items()}, {"format": "pt"})
    assert len(weights) > 64 << 20
    repo = "locked/large"
    hub.store.push(repo, {"config.json": model.config.to_json_string().encode(), "model.safetensors": weights})
    lock_it(f"hf://{repo}")
    with requests(hub.store) as seen:
        AutoModel.from_pretrained(repo)
    sent = sum(s["sent"] for s in seen() if s["path"].endswith("model.safetensors"))
    assert sent < len(weights) + (1 << 20)
