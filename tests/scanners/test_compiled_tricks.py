"""The tricks in compiled files are real: the programs that load such files run them, and write the marker."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import native_forge
import pytest
from sample_set import MARKER, Sample, samples

ROOT = Path(__file__).parents[2]
FAMILIES = ("pyc", "torchscript", "torch-package")
RUN = """
import os, sys, warnings
from pathlib import Path
sys.path[:0] = [{root!r}, {support!r}]
warnings.simplefilter("ignore")
from sample_set import MARKER, samples
for sample in samples():
    if sample.format != {family!r} or sample.loads is None:
        continue
    folder = Path({folder!r}) / sample.name.replace("/", "-")
    folder.mkdir()
    place = sample.build(folder)
    work = folder / "work"
    work.mkdir()
    os.chdir(work)
    try:
        sample.loads(place)
    except Exception as error:
        print(sample.name, repr(error)[:200], file=sys.stderr)
    if (work / MARKER).exists():
        print(sample.name)
"""


def with_loaders(family: str) -> list[Sample]:
    return [s for s in samples() if s.format == family and s.loads is not None and s.available]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_trick_works_in_the_real_loader(family: str, tmp_path: Path) -> None:
    """In a process of its own, which is not guarded."""
    wanted = {s.name for s in with_loaders(family)}
    if not wanted:
        pytest.skip("what would load it is not installed")
    code = RUN.format(root=str(ROOT), support=str(ROOT / "tests/support"), family=family, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert set(done.stdout.split()) == wanted, done.stderr[-3000:]


@pytest.mark.skipif(not native_forge.HAVE_GCC, reason="needs a compiler")
def test_a_constructor_runs_as_soon_as_its_library_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ops.so").write_bytes(native_forge.compiled(native_forge.CONSTRUCTOR, "-shared"))
    code = f"import ctypes; ctypes.CDLL({str(tmp_path / 'ops.so')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / MARKER).exists()


@pytest.mark.skipif(not native_forge.HAVE_GCC, reason="needs a compiler")
def test_a_library_still_loads_with_something_appended(tmp_path: Path) -> None:
    """Which is why what is appended to one is no damage that a loader would notice."""
    place = tmp_path / "sum.so"
    place.write_bytes(native_forge.compiled("int one(void) { return 1; }", "-shared") + b"appended" * 1000)
    assert ctypes.CDLL(str(place)).one() == 1
