"""`import nbguard` and `%load_ext nbguard`: flat, lazy and light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import nbguard

HEAVY = (
    "torch", "transformers", "fickling", "sqlalchemy", "pandas", "joblib", "numpy", "rich", "ipywidgets",
    "huggingface_hub",
)  # fmt: skip


def imported_by(code: str) -> list[str]:
    """Heavy modules that a fresh interpreter has imported after `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_public_name_is_there():
    for name in nbguard.__all__:
        assert getattr(nbguard, name) is not None
    assert set(nbguard.__all__) <= set(dir(nbguard))
    assert issubclass(nbguard.ContractViolation, nbguard.LoadBlocked)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = nbguard.nonsense


def test_importing_is_light():
    assert imported_by("import nbguard") == []
    assert imported_by("import nbguard; nbguard.LoadBlocked, nbguard.Verdict, nbguard.Report") == []


def test_installing_is_light():
    assert imported_by("import nbguard; nbguard.install(); nbguard.uninstall()") == []


def test_loading_the_extension_is_light():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'nbguard')\n"
        f"assert not (set(sys.modules) - before) & set({HEAVY!r})\n"
        "assert 'safemodel' in shell.magics_manager.magics['cell']"
    )
    assert imported_by(code) == []


def test_scanning_by_path_imports_nothing_heavy_here(tmp_path):
    import pickle

    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([1]))
    assert imported_by(f"import nbguard; assert nbguard.scan({str(path)!r}).verdict.word == 'safe'") == []


def test_what_is_missing_is_one_sentence(tmp_path):
    with pytest.raises(nbguard.TargetError) as caught:
        nbguard.scan(str(tmp_path / "gone.pt"))
    assert str(caught.value).count("\n") == 0
