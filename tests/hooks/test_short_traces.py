"""What is stopped is shown at the person's own line, without the way through nbguard."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbguard import hooks
from nbguard.errors import LoadBlocked
from nbguard.hooks import walk

OWN = os.path.dirname(os.path.dirname(os.path.realpath(walk.__file__)))


class Bomb:
    """A pickle of this would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(pickle.dumps(Bomb()))
    return path


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NBGUARD_DEBUG", raising=False)
    hooks.install()
    yield
    hooks.uninstall()


def with_torch(path: Path) -> object:
    torch = pytest.importorskip("torch")
    return torch.load(path, weights_only=False)


def with_joblib(path: Path) -> object:
    return pytest.importorskip("joblib").load(path)


def with_unpickler(path: Path) -> object:
    return pickle.Unpickler(io.BytesIO(path.read_bytes())).load()


def with_loads(path: Path) -> object:
    return pickle.loads(path.read_bytes())


WAYS = (with_torch, with_joblib, with_unpickler, with_loads)


def files(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("load", WAYS)
def test_a_refusal_shows_only_the_persons_frames(load: Callable[[Path], object], bomb: Path) -> None:
    with pytest.raises(LoadBlocked) as stopped:
        load(bomb)
    assert files(stopped.value) == [__file__, __file__]
    assert "nbguard/hooks" not in "".join(traceback.format_exception(stopped.value))


@pytest.mark.parametrize("load", WAYS)
def test_an_interrupted_question_does_too(
    load: Callable[[Path], object], bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(walk, "ask", interrupted)
    monkeypatch.setattr(walk, "_somebody_there", lambda: True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        load(bomb)
    assert not [name for name in files(stopped.value) if name.startswith((OWN, "<nbguard>"))]
    assert files(stopped.value)[:2] == [__file__, __file__]


def test_everything_is_shown_for_debugging(bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DEBUG", "1")
    with pytest.raises(LoadBlocked) as stopped:
        with_unpickler(bomb)
    assert any(name.startswith(OWN) for name in files(stopped.value))


def test_in_a_script(bomb: Path) -> None:
    code = f"import nbguard, joblib\nnbguard.install()\njoblib.load({str(bomb)!r})\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'File "<string>", line 3, in <module>' in done.stderr
    assert "<nbguard>" not in done.stderr
    assert "nbguard/hooks" not in done.stderr
    assert done.stderr.count("Traceback") == 1
