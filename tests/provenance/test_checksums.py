"""Files of checksums: what sha256sum writes is read, what is written it reads, and nothing leaves the folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.errors import TargetError
from nbguard.provenance.checksums import (
    MAX_ENTRIES,
    VerificationError,
    parse_manifest,
    read_manifest,
    render_manifest,
    write_manifest,
)
from nbguard.provenance.digests import Job, digest, digests, list_folder, whole_folder
from nbguard.provenance.signing import write_checksums

ODD = [
    "plain.bin", "with space", " leading", "*star", "back\\slash", "new\nline", "carriage\rreturn", "n\\n", "ünïcode",
    "sub/deeper/x", "#comment", "(a) = b", "-dash", "tab\t", os.fsdecode(b"not-utf8-\xff"),
]  # fmt: skip
A = "a" * 64
needs_sha256sum = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for number, name in enumerate(ODD):
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"%d" % number * 1000)
    return root


@needs_sha256sum
def test_sha256sum_reads_what_is_written(folder: Path) -> None:
    made = write_checksums(folder)
    assert len(made.files) == len(ODD)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "checksums.sha256"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK") == len(ODD)
    (folder / "sub/deeper/x").write_bytes(b"other")
    assert subprocess.run(["sha256sum", "-c", "checksums.sha256"], cwd=folder, capture_output=True).returncode == 1


@needs_sha256sum
@pytest.mark.parametrize("options", [[], ["--binary"], ["--text"], ["--tag"]])
def test_what_sha256sum_writes_is_read(folder: Path, options: list[str]) -> None:
    done = subprocess.run(["sha256sum", *options, "--", *ODD], cwd=folder, capture_output=True, check=True)
    assert parse_manifest(done.stdout) == whole_folder(folder)[0]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_json_and_a_dot_in_front_say_the_same(ending: str) -> None:
    lines = f"# made by hand{ending}{A}  ./a.bin{ending}{ending}{A.upper()} *sub/b.bin{ending}"
    assert parse_manifest(lines.encode()) == {"a.bin": A, "sub/b.bin": A}
    assert parse_manifest(json.dumps({"a.bin": A, "sub/b.bin": A}).encode()) == {"a.bin": A, "sub/b.bin": A}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{A}  ../x", "inside the folder"), (f"{A}  /etc/passwd", "inside the folder"), (f"{A}  a/../../x", "inside"),
        (f"{A}  a//b", "inside"), (f"{A}  a/./b", "inside"), (f"{A}  a/", "inside"), (f"{A}  .", "inside"),
        (f"{A}  a\0b", "inside"), (f"{A}  {'x' * 5000}", "inside"), (f"{A}  x\n{A}  x", "stands there twice"),
        (f"{A}  x\n{A}  ./x", "stands there twice"), ("abc  x", "not a SHA-256 digest"),
        (f"{'a' * 32}  x", "not a SHA-256 digest"), (f"{A[:-1]}g  x", "not a line"), (f"{A}", "not a line"),
        (f"{A} x", "not a line"), ("", "holds no checksum"), ("# nothing\n", "holds no checksum"),
        (f"MD5 (x) = {A}", "only SHA-256"), (f"\\{A}  a\\q", "escape"), (f"\\{A}  a\\", "escape"),
        ("{", "neither JSON"), ("[" * 100_000, "neither JSON"), ('["x"]', "not of the form"), ("{}", "no checksum"),
        ('{"x": 1}', "not of the form"), ('{"x": {"y": "z"}}', "not of the form"),
        (json.dumps({"../x": A}), "inside the folder"), (json.dumps({"\ud800": A}), "inside the folder"),
        (f'{{"x": "{A}", "x": "{A}"}}', "stands there twice"), ("\0\x01\x02", "not a line"),
    ],
)  # fmt: skip
def test_what_no_honest_list_holds_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(VerificationError, match=said) as refused:
        parse_manifest(text.encode("utf-8", "surrogatepass"))
    assert str(refused.value).endswith(".")
    assert len(str(refused.value)) < 500


def test_a_list_is_bounded(tmp_path: Path) -> None:
    many = "".join(f"{A}  {number}\n" for number in range(MAX_ENTRIES + 1))
    with pytest.raises(VerificationError, match="more than 20,000 files"):
        parse_manifest(many.encode())
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(VerificationError, match="16 MB"):
        read_manifest(large)


def test_a_pipe_in_place_of_a_list_holds_nothing_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path / "pipe", "named pipe"), (tmp_path, "folder"), (tmp_path / "none", "no file")):
        with pytest.raises(VerificationError, match=said):
            read_manifest(path)
    with pytest.raises(VerificationError, match="NUL"):
        read_manifest("a\0b")


def test_a_list_that_is_there_is_replaced_only_when_told(tmp_path: Path) -> None:
    place = tmp_path / "checksums.sha256"
    write_manifest(place, {"x": A})
    with pytest.raises(VerificationError, match="there already"):
        write_manifest(place, {"x": "b" * 64})
    assert read_manifest(place) == {"x": A}
    write_manifest(place, {"x": "b" * 64}, overwrite=True)
    assert read_manifest(place) == {"x": "b" * 64}
    assert os.listdir(tmp_path) == ["checksums.sha256"]


def test_where_it_cannot_be_written_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="cannot be written"):
        write_manifest(tmp_path / "none" / "x", {"x": A})
    (tmp_path / "folder").mkdir()
    with pytest.raises(VerificationError):
        write_manifest(tmp_path / "folder", {"x": A}, overwrite=True)
    assert os.listdir(tmp_path) == ["folder"]


def test_what_has_no_checksum_stops_the_writing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(TargetError, match="link is a symbolic link"):
        write_checksums(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TargetError, match="pipe is a named pipe"):
        write_checksums(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / "a").unlink()
    with pytest.raises(TargetError, match="holds no file"):
        write_checksums(tmp_path)
    assert os.listdir(tmp_path) == []


def test_digests_are_those_of_hashlib(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(data)
    found = list_folder(tmp_path)
    assert digest(found, Job("x")) == hashlib.sha256(data).hexdigest()
    assert digest(found, Job("x", "git")) == hashlib.sha1(b"blob 3000000\0" + data).hexdigest()
    assert digest(found, Job("x", "sha256", 5, 2_000_000)) == hashlib.sha256(data[5:2_000_000]).hexdigest()
    with pytest.raises(TargetError, match="changed while"):
        digest(found, Job("x", end=4_000_000))
    with pytest.raises(TargetError, match="not compared"):
        digest(found, Job("x", "md5"))


def test_an_interruption_does_not_wait_for_the_end_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(1 << 42)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        digests(list_folder(tmp_path), [Job("endless")])


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=12)
    .filter(lambda s: s not in (".", "..")), min_size=1, max_size=3,
).map("/".join)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, st.binary(min_size=32, max_size=32).map(bytes.hex), min_size=1, max_size=5))
def test_every_list_comes_back_as_it_was_written(digests: dict[str, str]) -> None:
    assert parse_manifest(render_manifest(digests)) == digests


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(f'{A[:3]}\\ *()=\n./{{}}":', max_size=200).map(str.encode))
def test_any_bytes_are_a_list_or_a_sentence(data: bytes) -> None:
    found: dict[str, str] = {}
    with contextlib.suppress(VerificationError):
        found = parse_manifest(data)
    assert all(not name.startswith("/") and ".." not in name.split("/") for name in found)
