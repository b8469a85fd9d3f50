"""Archives and compression in any nesting: harm is found, bombs are stopped, and names that lead out are told."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import random
import resource
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sample_set import MARKER, samples
from sample_set.compressed import GOOD, HARM, PACK, zstd
from sample_set.sevenzips import packed as sevenzipped
from sample_set.tars import tarred, unpack_tar
from sample_set.zips import zipped
from seven_forge import Item, seven

from bench.adversarial_gadgets import gadgets
from bench.adversarial_opcodes import Spelling, spelled
from nbguard.artifact.sources import open_bytes
from nbguard.formats.view import BytesView
from nbguard.report.model import Report, Verdict
from nbguard.scanners import Limits, scan_opened
from nbguard.scanners.archive_paths import Placed, judge_paths
from nbguard.scanners.base import Budget, Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.registry import examine

LAYERS: dict[str, Callable[[bytes], bytes]] = {
    **{kind: PACK[kind] for kind in ("gzip", "bz2", "xz", "lzma", "zstd", "lz4", "lz4-legacy", "zlib")},
    "zip": lambda data: zipped(("readme.txt", b"text"), ("in/data.bin", data), method=zipfile.ZIP_DEFLATED),
    "tar": lambda data: tarred(("readme.txt", b"text"), ("in/data.bin", data)),
    "7z": lambda data: sevenzipped({"readme.txt": b"text", "in/data.bin": data}),
}
HARMFUL = {
    "system": HARM,
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "eval": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    "named by the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "behind something": GOOD + HARM,
}
LINUX = sys.platform == "linux"
SMALL = Limits(unpacked=64 << 20)


def look(data: bytes, limits: Limits | None = None) -> Report:
    with open_bytes(data) as opened:
        return scan_opened(opened, limits=limits)


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def judged(data: bytes, limits: Limits = SMALL) -> Facts:
    """In this process: the same reading, without the worker around it."""
    return examine(Job("m", BytesView(data), limits, Budget(limits.unpacked, limits.members)))


@pytest.mark.parametrize("seed", range(40))
def test_harm_is_found_under_any_three_layers(seed: int) -> None:
    chance = random.Random(seed)
    data = chance.choice(list(HARMFUL.values()))
    chain = [chance.choice(list(LAYERS)) for _ in range(3)]
    for layer in chain:
        data = LAYERS[layer](data)
    assert judged(data).verdict is Verdict.DANGER, chain


def test_gadgets_are_as_bad_under_three_layers_as_without_them(tmp_path: Path) -> None:
    """A third of all gadgets that are known here, each under layers that chance picks."""
    chance, seen = random.Random(7), 0
    for gadget in gadgets(tmp_path)[::3]:
        try:
            data = spelled(gadget.payload, Spelling(4, "plain"))
        except (TypeError, ValueError, UnicodeError):
            continue
        plainly, chain = judged(data).verdict, [chance.choice(list(LAYERS)) for _ in range(3)]
        for layer in chain:
            data = LAYERS[layer](data)
        assert judged(data).verdict == plainly > Verdict.SAFE, (gadget.name, chain)
        seen += 1
    assert seen > 30


@pytest.mark.parametrize("seed", range(12))
def test_what_is_harmless_stays_so_under_any_three_layers(seed: int) -> None:
    chance = random.Random(seed)
    data = GOOD
    chain = [chance.choice(list(LAYERS)) for _ in range(3)]
    for layer in chain:
        data = LAYERS[layer](data)
    facts = judged(data)
    assert facts.verdict is Verdict.SAFE, (chain, facts.findings)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_nested_more_deeply_than_is_followed_is_unverifiable(layer: str) -> None:
    data = HARM
    for _ in range(SMALL.depth + 1):
        data = LAYERS[layer](data)
    facts = judged(data)
    assert facts.verdict >= Verdict.UNVERIFIABLE
    assert "limits.depth" in {f.rule for f in facts.findings}


def _many(pack: Callable[[bytes], bytes]) -> bytes:
    """4 GiB of zeros: 64 streams of 64 MiB, end to end."""
    return pack(bytes(64 << 20)) * 64


def _deflated() -> bytes:
    """A zip with one entry of 4 GiB, made of flushed pieces."""
    machine = zlib.compressobj(1, zlib.DEFLATED, -15)
    piece = machine.compress(bytes(64 << 20)) + machine.flush(zlib.Z_FULL_FLUSH)
    packed = piece * 64 + machine.flush()
    with zipfile.ZipFile(io.BytesIO(whole := zipped(("zeros", b"x"), method=8))) as archive:
        at = archive.start_dir
    front, tail = whole[:30] + b"zeros" + packed, whole[at:]
    sizes = len(packed).to_bytes(4, "little") + ((4 << 30) - 1).to_bytes(4, "little")
    front = front[:18] + sizes + front[26:]
    end = tail.index(b"PK\x05\x06")
    return front + tail[:20] + sizes + tail[28 : end + 16] + len(front).to_bytes(4, "little") + tail[end + 20 :]


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip": lambda: _many(lambda d: gzip.compress(d, 1)),
    "bz2": lambda: _many(lambda d: bz2.compress(d, 1)),
    "xz": lambda: _many(lambda d: lzma.compress(d, preset=0)),
    "lzma": lambda: _many(lambda d: lzma.compress(d, lzma.FORMAT_ALONE, preset=0)),
    "zlib": lambda: _many(lambda d: zlib.compress(d, 1)),
    "zstd": lambda: _many(zstd.compress),
    "lz4": lambda: _many(lz4.frame.compress),
    "lz4-legacy": lambda: PACK["lz4-legacy"](bytes(8 << 20)) * 512,
    "zip": _deflated,
    "7z": lambda: seven([Item("zeros", b"\0" * 1000)], method=b"\x03\x01\x01", sizes=[4 << 30]),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_four_gigabytes_in_any_compression_are_unverifiable_in_little_memory(kind: str) -> None:
    """The worker has one GiB; at three bytes of memory for each unpacked one, this would end in limits.memory."""
    report = look(BOMBS[kind](), Limits(unpacked=64 << 20, memory=1 << 30, seconds=60))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert rules(report) & {"limits.unpacked", "7z.packed"}, rules(report)
    assert not rules(report) & {"limits.memory", "limits.time"}


def test_a_bomb_is_stopped_by_the_usual_limits_too() -> None:
    report = look(BOMBS["zstd"]())
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "limits.unpacked" in rules(report)


def test_harm_in_front_of_a_bomb_is_found() -> None:
    assert look(zstd.compress(HARM) + BOMBS["zstd"](), SMALL).verdict is Verdict.DANGER


@pytest.mark.parametrize("sample", [s for s in samples() if s.loads is unpack_tar], ids=lambda s: s.name)
def test_what_is_told_of_tars_is_what_unpacking_them_does(sample, tmp_path: Path) -> None:
    """What writes the marker outside of the folder is danger; nothing else does."""
    if sample.name in ("tar/device", "tar/pipe"):
        pytest.skip("makes a device")
    place = sample.build(tmp_path)
    try:
        unpack_tar(place)
    except (tarfile.TarError, OSError):
        return
    escaped = [p for p in tmp_path.rglob(MARKER) if (tmp_path / "out" / "deep") not in p.parents]
    assert not escaped or sample.verdicts == ("danger",)
    if sample.name in ("tar/escape", "tar/link-out", "tar/link-chain"):
        assert escaped


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ([Placed("a/b.txt"), Placed("a/./c.txt"), Placed("a/x/../d.txt")], Verdict.SAFE),
        ([Placed("w:0.npy"), Placed("..a"), Placed("a..b/c")], Verdict.SAFE),
        ([Placed("lib/a.so.1"), Placed("lib/a.so", "link", "a.so.1"), Placed("b", "link", "lib")], Verdict.SAFE),
        ([Placed("a/b"), Placed("a/c", "hardlink", "a/b")], Verdict.SAFE),
        ([Placed("a", "link", "b"), Placed("b", "link", "a")], Verdict.DANGER),
        ([Placed("a/b", "link", "../../x")], Verdict.DANGER),
        ([Placed("a", "link", "C:\\x")], Verdict.DANGER),
        ([Placed("\\\\server\\share")], Verdict.DANGER),
        ([Placed("a\0b")], Verdict.UNVERIFIABLE),
        ([Placed("a/" * 5000 + "b")], Verdict.UNVERIFIABLE),
        ([Placed("a", "hardlink", "missing")], Verdict.UNVERIFIABLE),
        ([Placed("README"), Placed("readme")], Verdict.REVIEW),
        ([Placed("a.txt"), Placed("a.txt ")], Verdict.REVIEW),
        ([Placed("tool", mode=0o4755)], Verdict.REVIEW),
    ],
)
def test_where_members_lead(members: list[Placed], verdict: Verdict) -> None:
    facts = Facts()
    judge_paths(Job("m", BytesView(b""), SMALL, Budget(1, 1)), members, facts)
    assert facts.verdict is verdict, facts.findings


def test_a_thousand_bad_names_are_told_in_a_few_lines() -> None:
    facts = Facts()
    judge_paths(Job("m", BytesView(b""), SMALL, Budget(1, 1)), [Placed(f"../{n}") for n in range(1000)], facts)
    assert len(facts.findings) < 20
    assert facts.findings[-1].message.startswith("And 990 more")


def test_arrays_that_differ_in_case_are_two_arrays() -> None:
    """`numpy.savez(W=…, w=…)` is honest, and `numpy.load` tells them apart."""
    honest = next(s for s in samples() if s.name == "npz/honest")
    assert honest.verdicts == ("safe",)


def test_empty_files_that_mark_something_are_no_trouble() -> None:
    assert look(zipped(("m/__init__.pyi", b""), ("m/py.typed", b""), ("m/a.txt", b"x"))).verdict is Verdict.SAFE
    assert look(tarred(("m/.gitkeep", b""), ("m/a.txt", b"x"))).verdict is Verdict.SAFE
    assert look(tarred(("m/pytorch_model.bin", b""), ("m/a.txt", b"x"))).verdict is Verdict.UNVERIFIABLE


def test_a_conda_package_is_read_through_its_zip_and_its_zstandard() -> None:
    inner = zstd.compress(tarred(("lib/python3.11/site-packages/demo/w.pkl", HARM)))
    data = zipped(("metadata.json", b"{}"), ("pkg-demo-1.0-0.tar.zst", inner))
    assert look(data).verdict is Verdict.DANGER
    script = zstd.compress(tarred(("bin/.demo-post-link.sh", b"true\n")))
    report = look(zipped(("metadata.json", b"{}"), ("pkg-demo-1.0-0.tar.zst", script)))
    assert report.verdict is Verdict.REVIEW
    assert "package.conda-script" in rules(report)


_TEXT = b"some text that no loader takes for a program\n" * 9
_SEEDS = [
    zipped(("a.txt", _TEXT), ("b/c.json", b"{}"), method=8),
    tarred(("a.txt", _TEXT), ("b/c.json", b"{}")),
    sevenzipped({"a.txt": _TEXT, "b/c.json": b"{}"}),
    *(LAYERS[kind](_TEXT) for kind in ("zstd", "lz4", "gzip")),
]


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """As the worker has it: chance bytes may tell the pickle machine to make room for 2^32 things."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if LINUX else 0
    if LINUX:
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(_SEEDS), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=6), st.data()
)
def test_no_broken_archive_makes_a_scanner_raise(
    seed: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    broken = bytearray(seed)
    for at, value in changes:
        broken[at % len(broken)] = value
    cut = data.draw(st.integers(len(broken) // 2, len(broken)))
    with little_memory():
        judged(bytes(broken[:cut]))
