"""Opening what is about to be loaded: files, folders, bytes in memory, and everything that is none of these."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from nbguard.artifact import sources
from nbguard.artifact.names import shown
from nbguard.artifact.sources import Opened, open_bytes, open_files, open_path, seal
from nbguard.errors import TargetError

linux = pytest.mark.skipif(sys.platform != "linux", reason="sealed memory files are a Linux feature")


def _paths(opened: Opened) -> list[str]:
    return [f.path for f in opened.files]


def test_a_file_is_read_through_one_handle(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"0123456789")
    with open_path(tmp_path / "model.pt") as opened:
        (file,) = opened.files
        assert (opened.kind, file.path, file.size) == ("path", "model.pt", 10)
        assert file.read(2, 3) == b"234"
        assert file.read(8, 100) == b"89"
        assert file.read() == b"0123456789"
        assert Path(file.load_path()).read_bytes() == b"0123456789"
        assert opened.provenance["size"] == "10"


def test_what_was_opened_survives_a_swap(tmp_path: Path) -> None:
    """Promise 1: another file put in its place is not what the handle reads."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"scanned")
    with open_path(path) as opened:
        (tmp_path / "other").write_bytes(b"swapped")
        os.replace(tmp_path / "other", path)
        assert Path(opened.files[0].load_path()).read_bytes() == b"scanned"


def test_a_change_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"scanned")
    with open_path(path) as opened:
        assert opened.files[0].unchanged()
        path.write_bytes(b"changed in place")
        assert not opened.files[0].unchanged()


@pytest.mark.parametrize("name", ["missing.pt", "missing/also.pt", "", "nul\0byte"])
def test_what_is_not_there_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(TargetError) as caught:
        open_path(str(tmp_path / name) if name else "")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TargetError, match="named pipe"):
        open_path(tmp_path / "pipe")


def test_a_device_and_a_socket_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="device"):
        open_path("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        with pytest.raises(TargetError, match="socket"):
            open_path(tmp_path / "s")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"x")
    (tmp_path / "model.pt").chmod(0)
    with pytest.raises(TargetError, match="permission denied"):
        open_path(tmp_path / "model.pt")


def test_names_that_are_no_utf8_are_shown_escaped(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/mod\xffel.pt"
    with open(name, "wb") as out:
        out.write(b"x")
    with open_path(os.fsdecode(name)) as opened:
        assert opened.files[0].path == "mod\\xffel.pt"
        opened.files[0].path.encode()
        assert opened.files[0].read() == b"x"
    with open_path(tmp_path) as opened:
        assert _paths(opened) == ["mod\\xffel.pt"]
    assert shown("naïve") == "naïve"


def test_a_folder_is_walked(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sub" / "w.bin").write_bytes(b"1")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref")
    with open_path(tmp_path) as opened:
        assert (opened.kind, opened.root) == ("directory", os.path.realpath(tmp_path))
        assert _paths(opened) == ["config.json", "sub/w.bin"]
        assert [n.path for n in opened.not_opened] == [".git"]
        assert not opened.unreachable


def test_links_out_of_the_folder_are_listed_and_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("outside")
    model = tmp_path / "model"
    (model / "real").mkdir(parents=True)
    (model / "w.bin").write_bytes(b"1")
    (model / "inside.bin").symlink_to("w.bin")
    (model / "outside.bin").symlink_to(secret)
    (model / "nowhere.bin").symlink_to(tmp_path / "missing")
    (model / "folder").symlink_to(tmp_path)
    with open_path(model) as opened:
        assert _paths(opened) == ["inside.bin", "w.bin"]
        assert sorted(n.path for n in opened.unreachable) == ["folder", "nowhere.bin", "outside.bin"]


def test_the_links_of_a_hub_snapshot_are_followed_into_its_blobs(tmp_path: Path) -> None:
    repo = tmp_path / "models--org--name"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repo / "blobs").mkdir(parents=True)
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "blobs" / "abc").write_bytes(b"blob")
    (repo / "snapshots" / commit / "model.bin").symlink_to("../../blobs/abc")
    (repo / "snapshots" / commit / "evil.bin").symlink_to("../../../models--other--repo")
    with open_path(repo / "snapshots" / commit) as opened:
        assert _paths(opened) == ["model.bin"]
        assert opened.files[0].read() == b"blob"
        assert opened.provenance["repo"] == "org/name"
        assert opened.provenance["cached_commit"] == commit
        assert [n.path for n in opened.unreachable] == ["evil.bin"]


def test_a_pipe_in_a_folder_is_unreachable_and_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.bin")
    with open_path(tmp_path) as opened:
        assert not opened.files
        assert "named pipe" in opened.unreachable[0].why


def test_joblib_companions_are_opened_with_their_file(tmp_path: Path) -> None:
    for name in ("a.pkl", "a.pkl_01.npy", "a.pkl_02.npy", "a.pkl_04.npy", "b.npy"):
        (tmp_path / name).write_bytes(b"x")
    with open_path(tmp_path / "a.pkl") as opened:
        assert _paths(opened) == ["a.pkl", "a.pkl_01.npy", "a.pkl_02.npy"]


def test_a_large_folder_is_looked_at_with_few_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "HELD_OPEN", 2)
    for number in range(6):
        (tmp_path / f"{number}.bin").write_bytes(str(number).encode())
    held = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with open_path(tmp_path) as opened:
        if sys.platform == "linux":
            assert len(os.listdir("/proc/self/fd")) - held <= 3
        assert [f.read() for f in opened.files] == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_parked_file_that_was_swapped_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"scanned")
    with open_path(path) as opened:
        opened.files[0].park()
        (tmp_path / "other").write_bytes(b"swapped")
        os.replace(tmp_path / "other", path)
        with pytest.raises(TargetError, match="changed"):
            opened.files[0].read()


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 3)
    for number in range(5):
        (tmp_path / str(number)).write_bytes(b"")
    with pytest.raises(TargetError, match="more than 3 files"):
        open_path(tmp_path)


@linux
def test_bytes_are_sealed() -> None:
    with open_bytes(b"program") as opened:
        (file,) = opened.files
        assert (opened.kind, opened.target, file.path, file.sealed) == ("stream", "<stream>", "<stream>", True)
        for attack in (lambda: os.pwrite(file.fd, b"X", 0), lambda: os.ftruncate(file.fd, 0)):
            with pytest.raises(OSError, match="not permitted"):
                attack()
        with pytest.raises(OSError, match="not permitted"), open(file.load_path(), "r+b", buffering=0) as again:
            again.write(b"X")
        assert file.read() == b"program"


@linux
def test_a_sealed_copy_does_not_follow_its_source(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"a" * 3_000_000)
    with open_path(path) as opened:
        copy = seal(opened.files[0])
        path.write_bytes(b"b" * 10)
        assert copy.size == 3_000_000
        assert copy.read() == b"a" * 3_000_000
        assert copy.unchanged()
        assert seal(copy) is copy
        copy.close()


def test_open_files_stays_inside(tmp_path: Path) -> None:
    root = tmp_path / "r"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a").write_bytes(b"a")
    (tmp_path / "out").write_bytes(b"o")
    (root / "link").symlink_to("../out")
    with open_files(str(root), ["sub/a"], target="org/name", kind="hub", commit="c" * 40) as opened:
        assert _paths(opened) == ["sub/a"]
        assert opened.commit == "c" * 40
    for bad in ("../out", "/etc/passwd", "link", "", "missing", "sub"):
        with pytest.raises(TargetError):
            open_files(str(root), [bad], target="org/name", kind="hub")


def test_two_names_that_look_the_same_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "a\nb.bin").write_bytes(b"1")
    (tmp_path / "a\\x0ab.bin").write_bytes(b"2")
    with open_path(tmp_path) as opened:
        assert _paths(opened) == ["a\\x0ab.bin"]
        assert [n.path for n in opened.unreachable] == ["a\\x0ab.bin"]


def test_a_closed_file_is_not_opened_again(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")
    with open_path(tmp_path / "m") as opened:
        file = opened.files[0]
    with pytest.raises(TargetError, match="closed"):
        file.read()
