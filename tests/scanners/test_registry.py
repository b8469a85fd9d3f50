"""Which scanners are asked: leaving some out for plain pickles must change nothing."""

from __future__ import annotations

import io
import pkgutil
import tarfile

import pytest
from sample_set import samples

from nbguard.formats.view import BytesView
from nbguard.scanners import kinds, registry
from nbguard.scanners.base import Budget, Job, Limits, Scanner
from nbguard.scanners.tables import table

USUAL = table("recognition")["pickle"]
LIMITS = Limits()


def job(data: bytes, name: str) -> Job:
    return Job(name, BytesView(data), LIMITS, Budget(LIMITS.unpacked, LIMITS.members))


def recognise(scanners: tuple[Scanner, ...], asked: Job) -> list[str]:
    return [s.name for s in scanners if s.recognise(asked)]


def test_the_table_names_scanners_that_are_there() -> None:
    assert USUAL["never"] | USUAL["marks"].keys() <= {m.name for m in pkgutil.iter_modules(kinds.__path__)}


@pytest.mark.parametrize("suffix", sorted(USUAL["suffixes"]))
def test_what_is_left_out_would_not_have_recognised_it(suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every sample that can be made at once, with the first byte of a pickle in front of it, or in its first place."""
    compared = 0
    for sample in samples():
        if sample.needs:
            continue
        place = sample.build(tmp_path_factory.mktemp("s"))
        for file in [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]:
            data = file.read_bytes()[: 1 << 18]
            for changed in (b"\x80" + data, b"\x80" + data[1:], b"\x80\x04" + data[2:]):
                asked = job(changed, f"m{suffix}")
                assert recognise(registry.candidates(asked), asked) == recognise(registry.scanners(), asked), (
                    sample.name
                )
                compared += 1
    assert compared > 500


def test_a_tar_whose_first_name_begins_like_a_pickle_is_one() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("\udc80\x04x"))
    data = out.getvalue()
    assert data.startswith(b"\x80\x04")
    assert "tar" in recognise(registry.candidates(job(data, "m.pkl")), job(data, "m.pkl"))


def test_a_scanner_of_anything_else_is_asked(tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, data in (("m.pkl", b"GGUF"), ("m.gguf", b"\x80\x04."), ("x", b"\x80\x04.")):
        assert registry.candidates(job(data, name)) == registry.scanners()
