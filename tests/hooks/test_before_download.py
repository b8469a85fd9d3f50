"""A guarded load on a Hub name: looked at where it lies, asked about, quarantined, compared, promoted, and only then
loaded. Whatever goes wrong on the way promotes nothing."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub
from loopback_hub.catalogue import files_of
from loopback_hub.faults import misbehaving, requests

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from huggingface_hub import constants, hf_hub_download, snapshot_download  # noqa: E402
from transformers import AutoConfig, AutoModel  # noqa: E402

from nbguard import hooks  # noqa: E402
from nbguard.approvals import AuditLog  # noqa: E402
from nbguard.artifact.remote import Most  # noqa: E402
from nbguard.artifact.remote_repo import RemoteCommit  # noqa: E402
from nbguard.errors import LoadBlocked  # noqa: E402
from nbguard.hooks import walk  # noqa: E402
from nbguard.hooks.loaders import arriving  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from hub_tools import Payload, hostile_zip, someone  # noqa: E402
from transformers_tools import Person, fresh  # noqa: E402

person = pytest.fixture(someone)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NBGUARD_DEMO_MARKER", str(tmp_path / "marker"))
    return tmp_path / "marker"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The guard is on, and nobody can be asked."""
    monkeypatch.setattr(walk, "_somebody_there", lambda: False)
    hooks.install()
    yield
    hooks.uninstall()


def in_cache(repo: str) -> list[str]:
    """What of a repository lies where a loader would look for it."""
    base = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    return sorted(str(p.relative_to(base)) for p in base.rglob("*") if not p.is_dir() and p.parts[-2] != "refs")


def big(marker: Path | None = None) -> dict[str, bytes]:
    """A model whose weights are too large to be fetched whole for a look."""
    model = AutoModel.from_config(transformers.BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, vocab_size=4096
    ))  # fmt: skip
    files = {"config.json": model.config.to_json_string().encode()}
    if marker is not None:
        return {**files, "pytorch_model.bin": hostile_zip(marker, model.state_dict())}
    import safetensors.torch

    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    return {**files, "model.safetensors": safetensors.torch.save(weights, {"format": "pt"})}


def pushed(hub: Hub, name: str, files: dict[str, bytes]) -> str:
    repo = f"arriving/{name}"
    hub.store.push(repo, files)
    return repo


def test_nothing_is_in_the_cache_before_the_answer_and_all_is_after_it(hub: Hub, person: Person) -> None:
    repo = pushed(hub, "asked-first", big())
    seen: list[Any] = []
    person.meanwhile = lambda: seen.append(in_cache(repo))
    AutoModel.from_pretrained(repo)
    assert seen == [[]]
    assert [r.verdict.word for r in person.asked] == ["safe"]
    assert person.asked[0].provenance["judged"] == "remotely, before download"
    assert person.asked[0].provenance["to download"].startswith("2 files, ")
    assert hf_hub_download(repo, "model.safetensors", local_files_only=True)
    stored = [p for p in in_cache(repo) if p.startswith("blobs/")]
    assert len(stored) == 2


def test_a_refusal_moves_no_weights(hub: Hub, person: Person) -> None:
    repo = pushed(hub, "refused", big())
    person.choice = "refuse"
    with requests(hub.store) as seen, pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo)
    weights = sum(s["sent"] for s in seen() if s["path"].endswith("model.safetensors"))
    assert 0 < weights < 256 << 10 < len(hub.store.read(repo, hub.store.refs(repo)["main"], "model.safetensors"))
    assert in_cache(repo) == []


def test_what_is_dangerous_is_refused_before_it_is_downloaded(hub: Hub, nobody: None, marker: Path) -> None:
    repo = pushed(hub, "dangerous", big(marker))
    with requests(hub.store) as seen, pytest.raises(LoadBlocked) as stopped:
        AutoModel.from_pretrained(repo)
    assert stopped.value.report is not None
    assert stopped.value.report.verdict.word == "danger"
    assert sum(s["sent"] for s in seen() if s["path"].endswith(".bin")) < 512 << 10
    assert in_cache(repo) == []
    assert not marker.exists()


def test_loads_without_anybody_there_go_the_same_way(hub: Hub, nobody: None) -> None:
    repo = pushed(hub, "headless", big())
    AutoModel.from_pretrained(repo)
    assert hf_hub_download(repo, "model.safetensors", local_files_only=True)
    noted = [e for e in AuditLog().entries() if e["event"] == "hub.promoted" and e["target"] == repo]
    assert len(noted) == 1
    assert set(noted[0]["sha256"]) == {"config.json", "model.safetensors"}


def test_the_second_load_downloads_nothing(hub: Hub, person: Person) -> None:
    repo = pushed(hub, "twice", big())
    AutoModel.from_pretrained(repo)
    with requests(hub.store) as seen:
        AutoModel.from_pretrained(repo)
    assert len(person.asked) == 1
    assert not [s for s in seen() if s["method"] == "GET" and "/resolve/" in s["path"]]


LIES = [
    ("bytes", {}), ("bytes", {"after": 1}), ("bytes", {"after": 2}), ("length", {}), ("etag", {}), ("commit", {}),
    ("more", {}), ("shifted", {}), ("cut", {}), ("redirect", {"to": "/acme/other/resolve/main/model.safetensors"}),
    ("status", {"status": 503}), ("status", {"status": 429}), ("status", {"status": 404}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "more", "when"),
    [
        (kind, more, when)
        for kind, more in LIES
        for when in ("look", "download")
        if when == "look" or "after" not in more
    ],
    ids=lambda v: json.dumps(v) if isinstance(v, dict) else v,
)
def test_no_lie_of_a_server_promotes_anything(
    kind: str, more: dict[str, Any], when: str, hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.artifact import ranged_http

    monkeypatch.setattr(ranged_http, "PAUSE", 0.0)
    monkeypatch.setattr(ranged_http, "MAX_PAUSE", 0.0)
    number = "x".join(str(v) for v in more.values() if isinstance(v, int))
    repo = pushed(hub, f"lies-{kind}{number}-{when}", big())
    fault = misbehaving(hub.store, "model.safetensors", kind, **more)
    if when == "download":
        person.meanwhile = fault.__enter__
    else:
        fault.__enter__()
    try:
        with pytest.raises((LoadBlocked, OSError)):
            AutoModel.from_pretrained(repo)
    finally:
        fault.__exit__(None, None, None)
    assert in_cache(repo) == []
    person.meanwhile = lambda: None
    AutoModel.from_pretrained(repo)  # and an honest answer afterwards is loaded


def test_other_bytes_shown_than_sent_are_told_from_each_other(hub: Hub, person: Person) -> None:
    """The digest fits what is sent; what was shown before, range by range, was something else."""
    shown, sent = big(), big()
    repo = pushed(hub, "two-faces", sent)
    place = hub.store.path(repo, hub.store.refs(repo)["main"], "model.safetensors")
    assert place is not None
    header = 8 + int.from_bytes(sent["model.safetensors"][:8], "little")
    other = shown["model.safetensors"][:header].replace(b'"pt"', b'"PT"') + sent["model.safetensors"][header:]
    place.write_bytes(other)
    person.meanwhile = lambda: (place.write_bytes(sent["model.safetensors"]), None)[1]
    with pytest.raises((LoadBlocked, OSError), match=r"showed other bytes|agree with each other"):
        AutoModel.from_pretrained(repo)
    assert in_cache(repo) == []


def test_what_needs_all_bytes_is_asked_about_after_the_download(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch, marker: Path
) -> None:
    import io

    monkeypatch.setattr(
        arriving, "RemoteCommit", lambda *a: RemoteCommit(*a, whole=64 << 10, most=Most(nbytes=256 << 10))
    )
    model = AutoModel.from_config(transformers.BertConfig(
        hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=256, vocab_size=4096
    ))  # fmt: skip
    old = io.BytesIO()
    torch.save(model.state_dict(), old, _use_new_zipfile_serialization=False)
    config = model.config.to_json_string().encode()
    repo = pushed(hub, "old-format", {"config.json": config, "pytorch_model.bin": old.getvalue()})
    seen: list[list[str]] = []
    person.meanwhile = lambda: seen.append(in_cache(repo))
    AutoModel.from_pretrained(repo)
    assert seen == [[]]
    assert "judged" not in person.asked[0].provenance
    bad = io.BytesIO()
    torch.save(
        {"w": torch.zeros(300_000), "x": Payload(marker)}, bad, _use_new_zipfile_serialization=False,
        pickle_module=pickle,
    )  # fmt: skip
    repo = pushed(hub, "old-and-bad", {"config.json": config, "pytorch_model.bin": bad.getvalue()})
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        AutoModel.from_pretrained(repo)
    assert in_cache(repo) == []
    assert not marker.exists()
    quarantined = [
        p for p in Path(constants.HF_HUB_CACHE).rglob("*old-and-bad*") if p.is_dir() and "blobs" in os.listdir(p)
    ]
    assert quarantined == []


def test_an_interrupted_download_goes_on_where_it_stopped(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.artifact import fetching

    monkeypatch.setattr(fetching, "PIECE", 256 << 10)
    repo = pushed(hub, "interrupted", big())
    fault = misbehaving(hub.store, "model.safetensors", "status", after=4, status=404)
    person.meanwhile = fault.__enter__
    with pytest.raises(OSError, match="goes on from"):
        AutoModel.from_pretrained(repo)
    fault.__exit__(None, None, None)
    person.meanwhile = lambda: None
    with requests(hub.store) as seen:
        AutoModel.from_pretrained(repo)
    size = len(hub.store.read(repo, hub.store.refs(repo)["main"], "model.safetensors"))
    asked = [s for s in seen() if s["path"].endswith("model.safetensors") and s["method"] == "GET"]
    assert sum(s["sent"] for s in asked) < size


def test_code_of_another_repository_is_asked_about_before_it_is_downloaded(hub: Hub, person: Person) -> None:
    other = fresh(hub, "demo/tiny-bert")
    config = json.loads(files_of("demo/tiny-bert")["config.json"])
    config["auto_map"] = {"AutoConfig": f"{other}--configuration_x.XConfig"}
    code = b"from transformers import PretrainedConfig\nclass XConfig(PretrainedConfig):\n    model_type = 'bert'\n"
    hub.store.push(other, {"configuration_x.py": code})
    repo = pushed(hub, "code-elsewhere", {"config.json": json.dumps(config).encode()})
    seen: list[Any] = []
    person.meanwhile = lambda: seen.append((in_cache(repo), in_cache(other)))
    AutoConfig.from_pretrained(repo, trust_remote_code=True)
    assert seen == [([], [])]
    assert in_cache(repo)
    assert in_cache(other)


def test_an_approval_is_given_without_a_download_and_holds_for_what_comes(
    hub: Hub, nobody: None, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbguard.commands import actions

    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))
    files = files_of("demo/tiny-custom")
    repo = pushed(hub, "approved", {**files, **big()})
    with pytest.raises(LoadBlocked):
        AutoConfig.from_pretrained(fresh(hub, "demo/tiny-custom"), trust_remote_code=True)
    custom = fresh(hub, "demo/tiny-custom")
    actions.approve(custom, reason="read")
    actions.approve(repo, reason="read")
    assert in_cache(custom) == in_cache(repo) == []
    assert AutoConfig.from_pretrained(custom, trust_remote_code=True).model_type == "tiny-demo"
    assert "configuration_tiny.py" in " ".join(in_cache(custom))


def test_honest_code_loads_as_the_first_thing_in_a_process(hub: Hub, tmp_path: Path) -> None:
    """What its imports draw in is read from byte code by an import system that meets the guard of marshal."""
    repo = fresh(hub, "demo/tiny-custom")
    script = f"""
import nbguard
from nbguard.gate import Answer
from nbguard.hooks import walk
walk.ask = lambda *a: Answer("once", "someone", "", "terminal")
walk.tell = lambda *a: None
walk._somebody_there = lambda: True
nbguard.install()
from transformers import AutoModel
print(type(AutoModel.from_pretrained({repo!r}, trust_remote_code=True)).__name__)
"""
    environment = {**os.environ, **hub.environment(tmp_path / "home"), "NBGUARD_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "TinyModel", done.stderr[-2_000:]


def test_a_conversion_leaves_nothing_of_the_pickles_in_the_cache(hub: Hub, tmp_path: Path) -> None:
    import nbguard

    model = AutoModel.from_config(transformers.BertConfig(
        hidden_size=128, num_hidden_layers=1, num_attention_heads=2, intermediate_size=256, vocab_size=4096
    ))  # fmt: skip
    torch.save(model.state_dict(), tmp_path / "m.bin")
    config = model.config.to_json_string().encode()
    files = {"config.json": config, "pytorch_model.bin": (tmp_path / "m.bin").read_bytes(), "extra.bin": b"x" * 2000}
    repo = pushed(hub, "converted", files)
    with requests(hub.store) as seen:
        made = nbguard.convert(f"hf://{repo}", tmp_path / "made")
    assert sorted(f.path for f in made.files) == ["model.safetensors"]
    assert in_cache(repo) == []
    assert not [p for p in Path(constants.HF_HUB_CACHE).rglob("*arriving--converted*") if "blobs" in os.listdir(p)]
    assert sum(s["sent"] for s in seen() if s["path"].endswith(".bin")) > 1 << 20


# alone, a download loads nothing


def entries(repo: str) -> list[dict[str, Any]]:
    return [e for e in AuditLog().entries() if e["event"] == "hub.downloaded" and e["target"] == repo]


def test_a_bare_download_is_scanned_and_noted_and_never_asked(
    hub: Hub, person: Person, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = pushed(hub, "bare", big(marker))
    assert hf_hub_download(repo, "pytorch_model.bin")
    assert snapshot_download(repo, allow_patterns=["*.json"])
    assert person.asked == []
    assert [e["verdict"] for e in entries(repo)] == ["danger", "safe"]
    assert entries(repo)[0]["found"] == {"pytorch_model.bin": "danger"}
    assert "was downloaded and is dangerous" in capsys.readouterr().err


def test_what_only_the_whole_file_shows_is_asked_about_again(
    hub: Hub, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes, the same verdict: but a serious finding that could not be seen from afar."""
    from dataclasses import replace

    from nbguard.report.model import Finding, Severity, Verdict

    honest = walk.scan

    def closer(request: Any, opened: Any) -> Any:
        report = replace(honest(request, opened), floor=Verdict.REVIEW)
        if report.provenance.get("judged"):
            return report
        return replace(report, findings=(Finding("x.y", Severity.HIGH, "model.safetensors", "", "Seen now."),))

    monkeypatch.setattr(walk, "scan", closer)
    AutoModel.from_pretrained(pushed(hub, "seen-later", big()))
    assert [len(r.findings) for r in person.asked] == [0, 1]
