"""What importing one file of a folder runs."""

from __future__ import annotations

from nbguard.artifact.imports import import_closure

FILES = {
    "hubconf.py": "import torch\nimport models.net as n\nfrom parts import one, two\nimport importlib\n"
    "importlib.import_module('late.here')\n__import__('named')\n",
    "models/__init__.py": "from . import base\n",
    "models/base.py": "",
    "models/net.py": "from .sub.deep import X\nfrom ..outside import Y\n",
    "models/sub/__init__.py": "",
    "models/sub/deep.py": "from ... import top\n",
    "parts/one.py": "",
    "parts/two/__init__.py": "from .. import three\n",
    "parts/three.py": "",
    "late/here.py": "import (",
    "named.py": "",
    "top.py": "",
    "outside.py": "",
    "setup.py": "import subprocess\n",
    "train.py": "import hubconf\n",
}


def closure(*start: str) -> set[str]:
    return import_closure(FILES, lambda name: FILES[name].encode(), start)


def test_everything_that_is_imported_and_nothing_else():
    assert closure("hubconf.py") == set(FILES) - {"setup.py", "train.py"}
    assert closure("train.py") == set(FILES) - {"setup.py"}
    assert closure("setup.py") == {"setup.py"}
    assert closure("not_there.py") == set()


def test_circles_end():
    files = {"a.py": "import b", "b.py": "import a"}
    assert import_closure(files, lambda name: files[name].encode(), ["a.py"]) == {"a.py", "b.py"}
