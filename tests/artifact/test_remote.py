"""A file is read where it lies, and a server that contradicts itself is believed nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import big_models
import pytest
from loopback_hub import Hub
from loopback_hub.faults import misbehaving, requests

from nbguard.artifact import ranged_http
from nbguard.artifact.ranged_http import Asked, Place, Unread
from nbguard.artifact.remote import BLOCK, HEAD, Most, Reading, Repository
from nbguard.artifact.remote_repo import open_remote
from nbguard.errors import TargetError
from nbguard.report.model import Report
from nbguard.scanners import scan_opened

SMALL = {"config.json": b'{"model_type": "bert"}'}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_http, "PAUSE", 0.0)
    monkeypatch.setattr(ranged_http, "MAX_PAUSE", 0.0)


@pytest.fixture
def large(hub: Hub, tmp_path: Path) -> str:
    """A repository with a checkpoint that is read by ranges."""
    place = big_models.torch_zip(tmp_path / "m.bin", tensors=4, nbytes=1 << 20)
    hub.store.push("acme/large", {"pytorch_model.bin": place})
    return "acme/large"


def judged(repo: str, most: Most | None = None) -> Report:
    with open_remote(repo, most=most) as opened:
        return scan_opened(opened)


def reading(hub: Hub, data: bytes, most: Most | None = None) -> Reading:
    commit = hub.store.push("acme/reading", {"m.bin": data})
    return Reading(Repository(Place("acme/reading", commit), most or Most()), "m.bin", size=len(data))


DATA = bytes(range(256)) * 4096


def test_bytes_are_fetched_once_and_in_few_requests(hub: Hub) -> None:
    file = reading(hub, DATA)
    with requests(hub.store) as seen:
        assert file.read(0, 8) == DATA[:8]
        assert file.read(HEAD - 4, 4) == DATA[HEAD - 4 : HEAD]
        assert file.read(len(DATA) - 22, 100) == DATA[-22:]
        assert file.read(len(DATA) - 65_000, 5) == DATA[-65_000:-64_995]
        assert file.read(-1, 5) == b""
        assert file.read(len(DATA), 5) == b""
        assert len(seen()) == file.requests == 2
    assert file.nbytes < HEAD + 6 * BLOCK


def test_reading_from_front_to_back_asks_for_more_each_time(hub: Hub) -> None:
    file = reading(hub, DATA)
    assert b"".join(file.read(at, 4096) for at in range(0, len(DATA), 4096)) == DATA
    assert file.requests < 12


def test_every_range_is_what_the_file_holds(hub: Hub) -> None:
    file = reading(hub, DATA)
    for number in range(60):
        offset, length = number * 7919 * 13 % len(DATA), number * 3571 % 70_000
        assert file.read(offset, length) == DATA[offset : offset + length]


def test_a_budget_is_kept(hub: Hub) -> None:
    file = reading(hub, DATA, Most(nbytes=200_000))
    with pytest.raises(Unread, match="only known after download"):
        file.read(0, 300_000)
    assert file.beyond
    assert file.requests == 0
    few = reading(hub, DATA, Most(requests=1))
    few.read(0, 1)
    with pytest.raises(Unread, match="only known after download"):
        few.read(len(DATA) // 2, 1)
    with pytest.raises(Unread):
        few.read(0, 1)  # for good


LIES = [
    ("bytes", {"after": 1}, "other bytes the second time|cannot be read|is missing|does not hold|pickle"),
    ("etag", {}, "another digest"),
    ("etag", {"after": 1}, "another digest"),
    ("length", {}, "another length"),
    ("commit", {}, "another commit"),
    ("shifted", {}, "another part of the file"),
    ("more", {}, "another length|more bytes"),
    ("whole", {}, "does not give parts"),
    ("cut", {}, "cut off|broke off"),
    ("status", {"status": 429}, "answers 429, 4 times"),
    ("status", {"status": 503}, "answers 503, 4 times"),
    ("status", {"status": 503, "after": 1}, "answers 503, 4 times"),
    ("status", {"status": 404}, "does not have it"),
    ("status", {"status": 416}, "shorter than it lists"),
    ("status", {"status": 418}, "answers 418"),
    ("status", {"status": 403}, "is gated"),
    ("redirect", {"to": "/evil/other/resolve/main/pytorch_model.bin"}, "another repository"),
    ("redirect", {"to": "/acme/large/resolve/main/config.json"}, "another repository or another file"),
    ("redirect", {"to": "https://evil.example/model.bin"}, "another host"),
    ("redirect", {"to": "http://localhost:1/model.bin"}, "another host"),
    ("redirect", {"to": "https://hf.co.evil.example/m"}, "another host"),
    ("redirect", {"to": "file:///etc/passwd"}, "no address"),
    ("redirect", {"to": ""}, "no address"),
    ("redirect", {"to": "https://[::1"}, "no address|makes no sense"),
]


@pytest.mark.parametrize(("kind", "more", "words"), LIES)
def test_a_server_that_lies_about_a_large_file_is_not_believed(
    hub: Hub, large: str, kind: str, more: dict[str, Any], words: str
) -> None:
    with misbehaving(hub.store, "pytorch_model.bin", kind, **more):
        report = judged(large)
    assert report.verdict.word in ("unverifiable", "danger")
    said = " ".join(f.message for f in report.findings)
    assert any(word in said for word in words.split("|")), said
    assert judged(large).verdict.word == "safe"


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("bytes", {}),
        ("etag", {}),
        ("length", {}),
        ("commit", {}),
        ("more", {}),
        ("cut", {}),
        ("status", {"status": 500}),
        ("status", {"status": 404}),
        ("redirect", {"to": "/acme/other/resolve/main/weights.pkl"}),
        ("redirect", {"to": "https://evil.example/"}),
    ],
)
def test_a_server_that_lies_about_a_small_file_is_not_believed(hub: Hub, kind: str, more: dict[str, Any]) -> None:
    hub.store.push("acme/small", {"weights.pkl": b"\x80\x04N."})
    with misbehaving(hub.store, "weights.pkl", kind, **more):
        report = judged("acme/small")
    assert report.verdict.word == "unverifiable"
    assert [f.rule for f in report.findings] == ["remote.unread"]


def test_an_answer_that_comes_drop_by_drop_ends(hub: Hub, large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_http, "SECONDS", 0.2)
    monkeypatch.setattr(ranged_http, "RATE", 1 << 30)
    with misbehaving(hub.store, "pytorch_model.bin", "slow", pause=0.01):
        report = judged(large)
    assert report.verdict.word == "unverifiable"
    assert "takes longer than" in report.findings[0].message


def test_a_server_that_recovers_is_asked_again(hub: Hub, large: str) -> None:
    with misbehaving(hub.store, "pytorch_model.bin", "status", status=503, times=2):
        assert judged(large).verdict.word == "safe"
    with misbehaving(hub.store, "pytorch_model.bin", "cut", times=1):
        assert judged(large).verdict.word == "safe"


def test_a_server_that_fails_on_many_files_is_left_alone(hub: Hub) -> None:
    hub.store.push("acme/storm", {f"{n}.pkl": b"\x80\x04N." for n in range(30)})
    with misbehaving(hub.store, ".pkl", "status", status=503), requests(hub.store) as seen:
        report = judged("acme/storm", Most(failures=3))
    assert report.verdict.word == "unverifiable"
    assert {f.verdict.word for f in report.files} == {"unverifiable"}
    assert len(seen()) == 1 + 3 * ranged_http.TRIES


def test_a_redirect_to_the_same_file_is_followed(hub: Hub, large: str) -> None:
    commit = hub.store.resolve(large, "main")
    same = f"/{large}/resolve/{commit}/pytorch_model.bin"
    with misbehaving(hub.store, "pytorch_model.bin", "redirect", to=same, times=1):
        assert judged(large).verdict.word == "safe"
    with misbehaving(hub.store, "pytorch_model.bin", "redirect", to=same):
        assert "without end" in judged(large).findings[0].message


def test_the_token_goes_to_the_hub_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = ("https", "huggingface.co", 443)
    place, asked = Place("o/n", "0" * 40), Asked("m.bin", 0, 1, 1)
    target = ranged_http._next("https://huggingface.co/x", "https://cas-bridge.xethub.hf.co/y?z", origin, place, asked)
    assert ranged_http._origin(target) != origin
    for bad in (
        "https://hf.co/evil/m/resolve/main/m.bin",
        "https://cdn.hf.co:444/",
        "https://hf.co.evil.example/",
        "http://cdn-lfs.hf.co/",
        "https://evilhf.co/",
    ):
        with pytest.raises(Unread):
            ranged_http._next("https://huggingface.co/x", bad, origin, place, asked)


@pytest.mark.parametrize(
    "names", [["../../up.py"], ["/etc/passwd"], ["a\\b.bin"], ["a//b.bin"], ["m.bin", "m.bin/inner.bin"]]
)
def test_names_that_are_no_files_are_refused(hub: Hub, names: list[str]) -> None:
    listed = [{"rfilename": n, "size": 4, "blobId": "0" * 40} for n in names]
    hub.store.push("acme/names", SMALL, info={"siblings": listed})
    with pytest.raises(TargetError, match="nothing was fetched"):
        open_remote("acme/names")


def test_a_folder_where_a_file_should_be_is_unverifiable(hub: Hub) -> None:
    listed = [{"rfilename": "weights", "size": 4096, "blobId": "0" * 40}, {"rfilename": "config.json", "size": 2}]
    hub.store.push("acme/folder", {"weights/x.pkl": b"N.", "config.json": b"{}"}, info={"siblings": listed})
    report = judged("acme/folder")
    assert report.verdict.word == "unverifiable"
    assert "does not have it" in report.findings[0].message


def test_a_length_that_is_none_is_unverifiable(hub: Hub) -> None:
    hub.store.push("acme/sizes", {"m.pkl": b"N."}, info={"siblings": [{"rfilename": "m.pkl"}]})
    assert judged("acme/sizes").verdict.word == "unverifiable"


def test_a_repository_that_is_closed_says_so(hub: Hub) -> None:
    hub.store.push("acme/closed", SMALL, info={"gated": "manual"})
    with pytest.raises(TargetError, match="is gated"):
        open_remote("acme/closed")


def test_code_of_another_repository_is_looked_at_too(hub: Hub) -> None:
    hub.store.push("acme/code", {"modeling_x.py": b"import os\nos.system('true')\n"})
    config = b'{"auto_map": {"AutoModel": "acme/code--modeling_x.X"}}'
    hub.store.push("acme/uses", {"config.json": config})
    with open_remote("acme/uses") as opened:
        assert "acme/code/modeling_x.py" in {f.path for f in opened.files}
        assert opened.provenance["code from acme/code"] == hub.store.resolve("acme/code", "main")
        assert scan_opened(opened).verdict.word == "danger"


def test_many_small_files_keep_few_handles(hub: Hub) -> None:
    import os

    hub.store.push("acme/many", {f"{n}.txt": b"text\n" for n in range(300)})
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with open_remote("acme/many") as opened:
        scan_opened(opened)
        after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after - before < 290
