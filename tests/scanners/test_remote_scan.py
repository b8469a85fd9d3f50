"""A repository that is scanned where it lies gets the verdict that it has after download, for few of its bytes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import big_models
import pytest
from loopback_hub import Hub
from loopback_hub.faults import requests
from sample_set import Sample, samples

import nbguard
from nbguard.artifact.hub import list_repo, open_repo
from nbguard.artifact.hub_listing import snapshot_folder
from nbguard.artifact.remote import BLOCK, Most
from nbguard.artifact.remote_repo import open_remote
from nbguard.artifact.sources import Opened, open_files
from nbguard.cli import main
from nbguard.commands import actions
from nbguard.errors import TargetError
from nbguard.scanners import orchestrate, scan_opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the evidence of flagged pickles, which takes most of the time and decides nothing."""
    monkeypatch.setattr(orchestrate, "decompiled", lambda file, facts, limits: facts.findings)


def files_of(place: Path) -> dict[str, bytes | Path]:
    if place.is_file():
        return {place.name: place.read_bytes()}
    return {
        p.relative_to(place).as_posix(): p.read_bytes()
        for p in sorted(place.rglob("*"))
        if p.is_file() and not p.is_symlink()
    }


def after_download(hub: Hub, remote: Opened) -> Opened:
    """The same files of the same commit, on this disk."""
    root = hub.store.root / remote.target / "commits" / str(remote.commit)
    names = [f.path for f in remote.files]
    return open_files(
        str(root), names, target=remote.target, kind="hub", commit=remote.commit, provenance=remote.provenance
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_the_verdict_is_the_one_after_download(sample: Sample, hub: Hub, tmp_path: Path) -> None:
    if not sample.available:
        pytest.skip(f"needs {', '.join(sample.needs)}")
    files = files_of(sample.build(tmp_path))
    if not files:
        pytest.skip("a folder without files is no repository")
    repo = "samples/" + re.sub(r"[^a-z0-9]+", "-", sample.name.lower()).strip("-")
    hub.store.push(repo, files)
    try:
        there = open_remote(repo, whole=0)  # everything by ranges
    except TargetError:  # an index that names what is not there is refused, either way, before anything else is fetched
        with pytest.raises(TargetError):
            open_repo(repo)
        return
    with there as opened:
        remote = scan_opened(opened)
        with after_download(hub, opened) as local:
            downloaded = scan_opened(local)
    assert remote.verdict is downloaded.verdict, [(f.rule, f.message) for f in remote.findings]
    same = {f.path: f.format for f in downloaded.files}
    assert [(f.path, f.verdict.word) for f in remote.files] == [(f.path, f.verdict.word) for f in downloaded.files]
    if downloaded.verdict.word != "unverifiable":
        pins = {f.path: f.pin for f in downloaded.files}
        listed = {f.path for f in opened.files if f.digest}
        assert [(f.path, f.pin) for f in remote.files if f.path in listed] == [
            (n, pins[n]) for n in pins if n in listed
        ]
        assert remote.contract.digest == downloaded.contract.digest
    for file in remote.files:  # what is more than is fetched is unverifiable, whatever it is
        assert file.format == same[file.path] or (file.format, file.verdict.word) == ("unknown", "unverifiable")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("big") / "pytorch_model.bin"
    yield big_models.torch_zip(place, tensors=256, nbytes=4 << 20)
    place.unlink()


def asked(seen: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [s for s in seen if s["path"].endswith(name)]


def test_a_checkpoint_of_a_gigabyte_costs_kilobytes(hub: Hub, checkpoint: Path) -> None:
    hub.store.push("acme/gigabyte", {"pytorch_model.bin": checkpoint, "config.json": b"{}"})
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/gigabyte")
    assert checkpoint.stat().st_size > 1 << 30
    assert report.verdict.word == "safe"
    assert len(seen()) <= 10
    assert sum(s["sent"] for s in seen()) <= 256 << 10
    assert report.provenance["judged"] == "remotely, before download"
    assert report.provenance["read"].endswith(f"in {len(seen())} requests")
    assert "scanned again when it is downloaded" in " ".join(n.why for n in report.not_scanned)
    assert report.artifact.commit == hub.store.resolve("acme/gigabyte", "main")


def test_the_program_of_a_large_checkpoint_is_judged(hub: Hub, tmp_path: Path) -> None:
    program = b"cposix\nsystem\n(X\x04\0\0\0truetR."
    place = big_models.torch_zip(tmp_path / "m.bin", tensors=64, nbytes=1 << 20, program=program)
    hub.store.push("acme/hostile", {"pytorch_model.bin": place})
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/hostile")
    assert report.verdict.word == "danger"
    assert "posix.system" in next(f for f in report.findings if f.rule == "pickle.gadget").evidence
    assert sum(s["sent"] for s in seen()) <= 256 << 10


def test_a_shard_of_safetensors_costs_two_requests(hub: Hub, tmp_path: Path) -> None:
    names = [f"model-{n:05}-of-00020.safetensors" for n in range(20)]
    weights = {f"model.layers.{n}.mlp.down_proj.weight": names[n % 20] for n in range(40)}
    index = json.dumps({"metadata": {}, "weight_map": weights}).encode()
    shards = {n: big_models.safetensors(tmp_path / n, tensors=40, nbytes=128 << 10) for n in names}
    hub.store.push("acme/shards", {"config.json": b"{}", "model.safetensors.index.json": index, **shards})
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/shards")
    assert report.verdict.word == "safe"
    assert all(1 <= len(asked(seen(), name)) <= 2 for name in names)


def test_the_numbers_of_an_archive_of_arrays_are_not_fetched(hub: Hub, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.savez(tmp_path / "m.npz", **{f"a{n}": np.zeros(1 << 20, "f4") for n in range(8)})
    hub.store.push("acme/arrays", {"m.npz": (tmp_path / "m.npz").read_bytes()})
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/arrays")
    assert report.verdict.word == "safe"
    assert sum(s["sent"] for s in seen()) < 1 << 20


def test_what_needs_all_bytes_is_said_to_need_a_download(hub: Hub, tmp_path: Path) -> None:
    program = b"\x80\x03" + b"".join(b"B" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20) + b"0" for _ in range(8))
    hub.store.push("acme/pickle", {"model.pkl": program + b"N."})
    with open_remote("acme/pickle", most=Most(nbytes=4 << 20)) as opened:
        report = scan_opened(opened)
    assert report.verdict.word == "unverifiable"
    assert [f.rule for f in report.findings] == ["remote.later"]
    assert any(n.path == "model.pkl" and n.why.startswith("only known after download") for n in report.not_scanned)
    with open_remote("acme/pickle") as opened:
        assert scan_opened(opened).verdict.word == "safe"


def test_both_faces_look_remotely_and_approving_downloads(hub: Hub, tmp_path: Path) -> None:
    place = big_models.safetensors(tmp_path / "m", tensors=2, nbytes=1 << 20)
    hub.store.push("acme/faces", {"model.safetensors": place})
    assert actions.scan_target("acme/faces").provenance["judged"] == "remotely, before download"
    cached = snapshot_folder(list_repo("acme/faces"))
    assert not os.path.exists(cached)
    with actions.open_target("acme/faces") as opened:
        assert "judged" not in opened.provenance
    assert os.path.exists(cached)


def test_what_was_downloaded_is_opened_from_the_cache_and_scanned(hub: Hub, tmp_path: Path) -> None:
    place = big_models.safetensors(tmp_path / "m", tensors=2, nbytes=1 << 20)
    hub.store.push("acme/there", {"model.safetensors": place, "config.json": b"{}"})
    open_repo("acme/there").close()
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/there")
    assert report.verdict.word == "safe"
    assert [s["path"] for s in seen()] == ["/api/models/acme/there"]
    assert {f.path for f in report.files} == {"model.safetensors", "config.json"}


def test_offline_only_the_cache_is_looked_at(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.store.push("acme/train", {"config.json": b"{}"})
    open_repo("acme/train").close()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with requests(hub.store) as seen:
        report = nbguard.scan("hf://acme/train")
        with pytest.raises(nbguard.TargetError, match="is not in the cache"):
            nbguard.scan("hf://acme/never-seen")
    assert report.provenance["source"] == "Hub cache"
    assert seen() == []


def test_a_scan_can_be_told_to_stay_offline(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.store.push("acme/asked", {"config.json": b"{}"})
    with requests(hub.store) as seen:
        assert main(["scan", "--offline", "hf://acme/asked"]) == 2
    assert seen() == []
    assert "is not in the cache" in capsys.readouterr().err


def test_a_tree_of_keras_far_behind_another_start_is_found(hub: Hub, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.h5", "w", userblock_size=1 << 20) as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
    data = bytearray((tmp_path / "m.h5").read_bytes())
    honest = big_models.safetensors(tmp_path / "s", tensors=1, nbytes=len(data) - 200).read_bytes()
    data[:1000] = honest[:1000]
    hub.store.push("acme/two-starts", {"model.h5": bytes(data)})
    assert nbguard.scan("hf://acme/two-starts").verdict.word == "danger"


def test_the_parent_says_what_the_worker_may_not_have(hub: Hub) -> None:
    hub.store.push("acme/worker", {"model.bin": bytes(4 * BLOCK)})
    with open_remote("acme/worker", whole=0) as opened:
        remote = opened.files[0].remote  # type: ignore[attr-defined]
        assert remote.served(4 * BLOCK - 2, 10) == b"\0\0"
        assert remote.served(1 << 60, 10) == b""
        remote.failed = "It is gone."
        assert remote.served(0, 1) is None


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_a_large_file_has_the_same_digests_before_and_after_download(kind: str, hub: Hub, tmp_path: Path) -> None:
    if kind == "torch":
        files = {"pytorch_model.bin": big_models.torch_zip(tmp_path / "m.bin", tensors=40, nbytes=1 << 20)}
    else:
        files = {"model.safetensors": big_models.safetensors(tmp_path / "m.s", tensors=40, nbytes=1 << 20)}
    hub.store.push("acme/large", {"config.json": b"{}", **files})
    with open_remote("acme/large") as opened, after_download(hub, opened) as local:
        before, after = scan_opened(opened), scan_opened(local)
    assert before.artifact.digest == after.artifact.digest
    assert before.contract.digest == after.contract.digest
