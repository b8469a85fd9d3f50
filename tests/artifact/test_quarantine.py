"""Files wait apart from the cache until they were compared, and nothing that a server or a disk does gets past that."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
from loopback_hub import Hub
from loopback_hub.faults import misbehaving, requests

from nbguard.artifact import fetching, quarantine, ranged_http
from nbguard.artifact.checkpoints import Choice
from nbguard.artifact.hub import list_repo
from nbguard.artifact.hub_listing import Listing
from nbguard.artifact.quarantine import QuarantineError, hold
from nbguard.errors import TargetError

WEIGHTS = bytes(range(256)) * 4096
FILES = {"config.json": b'{"model_type": "bert"}', "sub/vocab.txt": b"a\nb\n", "model.safetensors": WEIGHTS}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_http, "PAUSE", 0.0)
    monkeypatch.setattr(ranged_http, "MAX_PAUSE", 0.0)
    monkeypatch.setattr(quarantine, "SPARE", 0)
    monkeypatch.setattr(fetching, "PIECE", 300_000)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def listing(hub: Hub, request: pytest.FixtureRequest) -> Listing:
    repo = f"acme/{hashlib.sha1(request.node.name.encode()).hexdigest()[:12]}"
    hub.store.push(repo, FILES)
    return list_repo(repo, remember=False)


def promoted(cache: Path) -> list[str]:
    """Everything in the cache but the quarantine and its locks."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if ".locks" not in p.parts)


def repository(cache: Path, listing: Listing) -> Path:
    return cache / f"models--{listing.repo_id.replace('/', '--')}"


def test_what_was_promoted_is_found_by_every_tool_and_stored_once(listing: Listing, cache: Path) -> None:
    with hold(listing, FILES, cache_dir=cache) as held:
        assert promoted(cache) == []
        assert os.stat(held.place).st_mode & 0o777 == 0o700
        assert held.sha256 == {n: hashlib.sha256(d).hexdigest() for n, d in FILES.items()}
        with held.open(Choice(tuple(FILES))) as opened:
            before = {f.path: os.fstat(f.fd).st_ino for f in opened.files}
            assert opened.commit == listing.commit
            assert {f.path: f.read() for f in opened.files} == FILES
            root = held.promote()
            assert opened.root == root
            for file in opened.files:
                assert file.unchanged()
                file.park()
                assert file.read() == FILES[file.path]
        assert not os.path.exists(held.place)
    for name, data in FILES.items():
        place = hf_hub_download(listing.repo_id, name, cache_dir=cache, local_files_only=True)
        assert Path(place).read_bytes() == data
        assert os.stat(place).st_ino == before[name]
    assert snapshot_download(listing.repo_id, cache_dir=cache, local_files_only=True) == root
    found = scan_cache_dir(cache)
    assert not found.warnings
    assert found.size_on_disk == sum(map(len, FILES.values()))
    assert [repo.refs.keys() for repo in found.repos] == [{"main"}]


def test_a_quarantine_does_not_disturb_the_listing_of_the_cache(listing: Listing, cache: Path) -> None:
    with hold(listing, FILES, cache_dir=cache):
        pass
    found = scan_cache_dir(cache)
    assert not found.warnings
    assert not found.repos


def test_what_is_in_the_cache_is_not_fetched_again(hub: Hub, listing: Listing, cache: Path) -> None:
    snapshot_download(listing.repo_id, cache_dir=cache)
    with requests(hub.store) as seen, hold(listing, FILES, cache_dir=cache) as held:
        assert held.fetched == 0
        assert seen() == []
        with held.open(Choice(tuple(FILES))) as opened:
            assert {f.path: f.read() for f in opened.files} == FILES
            held.promote()
    hub.store.push(listing.repo_id, {**FILES, "config.json": b"{}"})
    newer = list_repo(listing.repo_id, remember=False)
    with requests(hub.store) as seen, hold(newer, FILES, cache_dir=cache) as held:
        assert held.fetched == 2
        held.promote()
        assert len(seen()) == 1
    assert (
        Path(snapshot_download(newer.repo_id, cache_dir=cache, local_files_only=True), "config.json").read_text()
        == "{}"
    )


def test_bytes_of_the_cache_that_do_not_have_their_digest_are_fetched_anew(listing: Listing, cache: Path) -> None:
    snapshot_download(listing.repo_id, cache_dir=cache)
    blob = repository(cache, listing) / "blobs" / listing.sha256["model.safetensors"]
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    with hold(listing, FILES, cache_dir=cache) as held:
        assert held.fetched == len(WEIGHTS)
        assert "other bytes" in held.distrusted[0]
        held.promote()
    assert blob.read_bytes() == WEIGHTS


LIES = [
    ("bytes", {}, "do not have the digest"),
    ("bytes", {"after": 1}, "do not have the digest"),
    ("etag", {}, "another digest"),
    ("etag", {"after": 2}, "another digest"),
    ("etag", {"tag": "../../../evil"}, "another digest"),
    ("length", {}, "another length"),
    ("commit", {}, "another commit"),
    ("shifted", {}, "another part of the file"),
    ("more", {}, "another length|more bytes"),
    ("whole", {}, "does not give parts"),
    ("status", {"status": 429}, "answers 429, 4 times"),
    ("status", {"status": 503, "after": 1}, "answers 503, 4 times"),
    ("status", {"status": 404}, "does not have it"),
    ("status", {"status": 416}, "shorter than it lists"),
    ("status", {"status": 401}, "is gated"),
    ("redirect", {"to": "/evil/other/resolve/main/model.safetensors"}, "another repository"),
    ("redirect", {"to": "https://evil.example/model.bin"}, "another host"),
    ("redirect", {"to": "file:///etc/passwd"}, "no address"),
    ("redirect", {"to": ""}, "no address"),
]


@pytest.mark.parametrize(("kind", "more", "words"), LIES)
def test_a_server_that_lies_gets_nothing_promoted(
    hub: Hub, listing: Listing, cache: Path, kind: str, more: dict[str, Any], words: str
) -> None:
    with (
        misbehaving(hub.store, "model.safetensors", kind, **more),
        pytest.raises(QuarantineError) as stopped,
        hold(listing, FILES, cache_dir=cache) as held,
    ):
        held.promote()
    assert any(word in str(stopped.value) for word in words.split("|")), stopped.value
    assert stopped.value.place in str(stopped.value)
    assert promoted(cache) == []
    with hold(listing, FILES, cache_dir=cache) as held:
        held.promote()
    found = hf_hub_download(listing.repo_id, "model.safetensors", cache_dir=cache, local_files_only=True)
    assert Path(found).read_bytes() == WEIGHTS


def test_bytes_that_failed_their_digest_are_not_gone_on_from(hub: Hub, listing: Listing, cache: Path) -> None:
    with (
        misbehaving(hub.store, "model.safetensors", "bytes"),
        pytest.raises(QuarantineError) as stopped,
        hold(listing, FILES, cache_dir=cache),
    ):
        pass
    assert not os.path.exists(os.path.join(stopped.value.place, "blobs", listing.sha256["model.safetensors"]))


def test_an_answer_that_comes_drop_by_drop_ends(
    hub: Hub, listing: Listing, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged_http, "SECONDS", 0.3)
    monkeypatch.setattr(ranged_http, "RATE", 1 << 30)
    with (
        misbehaving(hub.store, "model.safetensors", "slow", pause=0.01),
        pytest.raises(QuarantineError, match="takes longer than"),
        hold(listing, FILES, cache_dir=cache),
    ):
        pass
    assert promoted(cache) == []


def test_a_cut_answer_goes_on_where_it_ended(hub: Hub, listing: Listing, cache: Path) -> None:
    with (
        misbehaving(hub.store, "model.safetensors", "cut", times=2),
        requests(hub.store) as seen,
        hold(listing, FILES, cache_dir=cache) as held,
    ):
        assert held.sha256["model.safetensors"] == listing.sha256["model.safetensors"]
        ranges = [s["range"] for s in seen() if s["path"].endswith(".safetensors")]
    assert len(ranges) == len(set(ranges))


def test_an_interrupted_download_fetches_only_the_rest(hub: Hub, listing: Listing, cache: Path) -> None:
    def stop(share: float, what: str) -> None:
        if "model.safetensors: 0.6" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), hold(listing, FILES, cache_dir=cache, progress=stop):
        pass
    assert promoted(cache) == []
    with requests(hub.store) as seen, hold(listing, FILES, cache_dir=cache) as held:
        assert 0 < held.fetched < len(WEIGHTS) / 2
        assert sum(s["sent"] for s in seen()) == held.fetched
        held.promote()
    assert not os.path.exists(held.place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda li: replace(li, sha256={}, blob_ids={}), "lists no digest"),
        (lambda li: replace(li, sha256={"model.safetensors": "../../evil"}), "lists no digest"),
        (lambda li: replace(li, sha256={"model.safetensors": 7}), "lists no digest"),
        (lambda li: replace(li, sizes={**li.sizes, "config.json": None}), "how long"),
        (lambda li: replace(li, sizes={**li.sizes, "../x": 3}), "leads elsewhere"),
        (lambda li: replace(li, sizes={**li.sizes, "config.json/x": 3}), "file and as a folder"),
        (lambda li: replace(li, commit="../../x"), "no commit"),
        (lambda li: replace(li, cached=True), "did not list"),
        (lambda li: replace(li, sizes={}), "has no file"),
    ],
)
def test_a_listing_that_cannot_be_gone_by_is_refused(
    listing: Listing, cache: Path, change: Callable[[Listing], Listing], words: str
) -> None:
    odd = change(listing)
    names = [*FILES, *(n for n in odd.sizes if n not in FILES)]
    with pytest.raises(TargetError, match=words), hold(odd, names, cache_dir=cache):
        pass
    assert promoted(cache) == []


def obstacles(cache: Path, listing: Listing, elsewhere: Path) -> dict[str, tuple[Callable[[], object], str]]:
    base, digest = repository(cache, listing), listing.sha256["model.safetensors"]
    snapshot = base / "snapshots" / listing.commit
    return {
        "folder for a file": (lambda: (snapshot / "config.json").mkdir(parents=True), "a folder where a file"),
        "folder for a blob": (
            lambda: (base / "blobs" / digest).mkdir(parents=True), "a folder where a file"),
        "file for a folder": (
            lambda: (snapshot.mkdir(parents=True), (snapshot / "sub").write_text("x")), "a folder should be"),
        "another file": (
            lambda: (snapshot.mkdir(parents=True), (snapshot / "config.json").write_text("mine")), "another file"),
        "repository elsewhere": (lambda: (cache.mkdir(), base.symlink_to(elsewhere)), "a folder should be"),
        "blobs elsewhere": (lambda: (base.mkdir(parents=True), (base / "blobs").symlink_to(elsewhere)), "should be"),
        "snapshot elsewhere": (
            lambda: (snapshot.parent.mkdir(parents=True), snapshot.symlink_to(elsewhere)), "a folder should be"),
        "subfolder elsewhere": (
            lambda: (snapshot.mkdir(parents=True), (snapshot / "sub").symlink_to(elsewhere)), "a folder should be"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "what", list(obstacles(Path(), Listing("a/b", "0" * 40, {}, {"model.safetensors": ""}), Path()))
)
def test_what_lies_in_the_way_is_neither_followed_nor_overwritten(
    listing: Listing, cache: Path, tmp_path: Path, what: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    put, words = obstacles(cache, listing, elsewhere)[what]
    put()
    before = promoted(cache)
    with pytest.raises(QuarantineError, match=words), hold(listing, FILES, cache_dir=cache) as held:
        held.promote()
    assert promoted(cache) == before
    assert not list(elsewhere.iterdir())


def test_links_at_the_place_of_a_file_are_replaced_and_not_followed(
    listing: Listing, cache: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    snapshot = repository(cache, listing) / "snapshots" / listing.commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(mine)
    blobs = repository(cache, listing) / "blobs"
    blobs.mkdir()
    (blobs / listing.sha256["model.safetensors"]).symlink_to(mine)
    with hold(listing, FILES, cache_dir=cache) as held:
        held.promote()
    assert mine.read_text() == "mine"
    assert (snapshot / "config.json").read_bytes() == FILES["config.json"]
    assert not (blobs / listing.sha256["model.safetensors"]).is_symlink()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_changed_in_the_quarantine_is_not_promoted(
    listing: Listing, cache: Path, replaced: bool
) -> None:
    with hold(listing, FILES, cache_dir=cache) as held:
        place = Path(held.place, "blobs", listing.sha256["model.safetensors"])
        if replaced:
            place.unlink()
        place.write_bytes(WEIGHTS[:-1] + b"!")
        with pytest.raises(QuarantineError, match="was changed"):
            held.promote()
    assert not [p for p in promoted(cache) if "snapshots" in p]


def test_a_quarantine_is_no_link(listing: Listing, cache: Path, tmp_path: Path) -> None:
    with hold(listing, FILES, cache_dir=cache) as held:
        place = Path(held.place)
        held.discard()
    assert not place.exists()
    place.symlink_to(tmp_path)
    with pytest.raises(QuarantineError, match="a link or a file"), hold(listing, FILES, cache_dir=cache):
        pass
    assert not (tmp_path / "blobs").exists()


def test_a_link_in_the_quarantine_is_not_written_through(listing: Listing, cache: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    with hold(listing, ["config.json"], cache_dir=cache) as held:
        place = Path(held.place, "blobs", listing.sha256["model.safetensors"])
    for link in (place.symlink_to, place.hardlink_to):
        link(mine)
        with pytest.raises(QuarantineError), hold(listing, FILES, cache_dir=cache):
            pass
        place.unlink()
    assert mine.read_text() == "mine"


def test_too_small_a_disk_is_said_before_anything_is_fetched(
    hub: Hub, listing: Listing, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "SPARE", 1 << 60)
    with (
        requests(hub.store) as seen,
        pytest.raises(QuarantineError, match=r"needs 1\.0 MB more"),
        hold(listing, FILES, cache_dir=cache),
    ):
        pass
    assert seen() == []


def test_a_full_disk_is_a_sentence(listing: Listing, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.os, "pwrite", full)
    with pytest.raises(QuarantineError, match="no space left"), hold(listing, FILES, cache_dir=cache):
        pass


def test_files_go_into_a_plain_folder_by_rename(listing: Listing, cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "mine"
    with hold(listing, FILES, cache_dir=cache, to=target) as held:
        inode = os.stat(os.path.join(held.place, "blobs", listing.sha256["model.safetensors"])).st_ino
        assert held.promote_to(target) == str(target)
    assert (target / "model.safetensors").stat().st_ino == inode
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == FILES
    assert list(target.parent.iterdir()) == [target]
    assert promoted(cache) == []
    (target / "config.json").write_text("mine")
    with pytest.raises(QuarantineError, match="another file"), hold(listing, FILES, cache_dir=cache, to=target) as held:
        held.promote_to(target)
    assert (target / "config.json").read_text() == "mine"


def test_a_repository_of_data_goes_the_same_way(hub: Hub, cache: Path) -> None:
    hub.store.push("dataset--acme/held", {"data.json": b"[]"})
    listing = list_repo("datasets/acme/held", remember=False)
    with hold(listing, ["data.json"], cache_dir=cache) as held:
        held.promote()
    found = hf_hub_download("acme/held", "data.json", repo_type="dataset", cache_dir=cache, local_files_only=True)
    assert Path(found).read_bytes() == b"[]"


def test_threads_that_want_the_same_repository_take_turns(hub: Hub, listing: Listing, cache: Path) -> None:
    fetched: list[int] = []
    inside = threading.Semaphore(1)

    def work() -> None:
        with hold(listing, FILES, cache_dir=cache) as held:
            assert inside.acquire(blocking=False)
            held.promote()
            fetched.append(held.fetched)
            inside.release()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetched) == [0, 0, sum(map(len, FILES.values()))]


def _download(listing: Listing, cache: Path, out: Any) -> None:
    with hold(listing, FILES, cache_dir=cache) as held:
        held.promote()
        out.put(held.fetched)


def test_processes_that_want_the_same_repository_take_turns(hub: Hub, listing: Listing, cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    out = context.SimpleQueue()
    with hold(listing, ["config.json"], cache_dir=cache) as held:
        other = context.Process(target=_download, args=(listing, cache, out))
        other.start()
        held.promote()
    other.join(30)
    assert out.get() == sum(map(len, FILES.values())) - len(FILES["config.json"])


def test_a_second_hold_inside_the_first_is_an_error_and_no_standstill(listing: Listing, cache: Path) -> None:
    with (
        hold(listing, FILES, cache_dir=cache),
        pytest.raises(TargetError, match="by this very call"),
        hold(listing, FILES, cache_dir=cache),
    ):
        pass


def test_some_files_can_be_promoted_and_the_others_not(listing: Listing, cache: Path) -> None:
    with hold(listing, FILES, cache_dir=cache) as held:
        root = held.promote(["config.json"])
        assert os.listdir(root) == ["config.json"]
        held.discard()
    assert not os.path.exists(held.place)


def test_many_files_keep_few_handles(hub: Hub, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "HELD_OPEN", 3)
    files = {f"{n}/{n}.json": b"%d" % (n // 2) for n in range(60)}  # each content twice
    hub.store.push("acme/many", files)
    listing = list_repo("acme/many", remember=False)

    def handles() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = handles()
    for to in (None, tmp_path / "out", tmp_path / "again"):
        other = tmp_path / "other" if to and to.name == "out" else cache
        with hold(listing, files, cache_dir=other, to=to) as held, held.open(Choice(tuple(files))) as opened:
            assert {f.path: f.read() for f in opened.files} == files
            for file in opened.files:
                file.park()
            root = held.promote() if to is None else held.promote_to(to)
            assert handles() < before + 20
            assert {n: Path(root, n).read_bytes() for n in files} == files
            assert all(file.unchanged() for file in opened.files)
        assert not os.path.exists(held.place)
    assert handles() <= before + 2


def test_a_failure_half_way_into_a_folder_puts_nothing_there(
    listing: Listing, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_download(listing.repo_id, cache_dir=cache)
    with hold(listing, FILES, cache_dir=cache, to=tmp_path / "out") as held:
        monkeypatch.setattr(fetching, "CHUNK", 0)  # copying what the cache holds fails
        with pytest.raises(ValueError, match="must not be zero"):
            held.promote_to(tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("size", [10, 12_345_678_901])
def test_progress_is_a_line_that_the_bars_have_room_for(size: int) -> None:
    said: list[str] = []
    name = "folder/" + "x" * 90 + "-00001-of-00010.safetensors"
    alone = fetching.Telling(lambda share, what: said.append(what), size)
    alone.start(fetching.Wanted(name, size, ""))
    alone(size // 2)
    several = fetching.Telling(lambda share, what: said.append(what), 10 * size)
    several.start(fetching.Wanted(name, size, ""))
    several(size // 2)
    assert all(len(what) <= fetching.SHOWN and ".safetensors" in what for what in said[:1])
    assert len(said[1]) <= fetching.SHOWN
    assert said[0].count(" of ") == 1
    assert "in all" in said[1]
