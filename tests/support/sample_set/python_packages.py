"""Wheels, eggs and source packages: built by setuptools, and what nobody should install."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sample_set import COMMAND, MARKER, Sample, written
from sample_set.compressed import HARM
from sample_set.zips import zipped

_PROJECT = {
    "setup.py": """from setuptools import setup
setup(name="demo-model", version="1.0", packages=["demo_model"], author="a", url="https://example.org",
      entry_points={"console_scripts": ["demo-model=demo_model:main"]}, package_data={"demo_model": ["py.typed"]})
""",
    "demo_model/__init__.py": "import json\n\n\ndef main() -> None:\n    print(json.dumps({}))\n",
    "demo_model/py.typed": "",
    "README.md": "A demo.\n",
}


@cache
def built(command: str) -> tuple[str, bytes]:
    """(name, bytes) of what `setup.py <command>` makes of a small honest project."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _PROJECT.items():
            place = Path(folder) / name
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)
        ran = [sys.executable, "-W", "ignore", "setup.py", "-q", command]
        subprocess.run(ran, cwd=folder, check=True, capture_output=True, timeout=120)
        (made,) = (Path(folder) / "dist").iterdir()
        return made.name, made.read_bytes()


def _built(command: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        name, data = built(command)
        (folder / name).write_bytes(data)
        return folder / name

    return build


def wheel(members: dict[str, bytes], *, name: str = "demo_model", spoil: str = "", unlisted: str = "") -> bytes:
    """A wheel with a right list of files, but for the digest of `spoil` and without `unlisted`."""
    info = f"{name}-1.0.dist-info"
    members = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, data in members.items():
        digest = hashlib.sha256(data + b"!" if path == spoil else data).digest()
        text = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if path != unlisted:
            lines.append(f"{path},sha256={text},{len(data)}")
    members[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    return zipped(*members.items(), method=zipfile.ZIP_DEFLATED)


def source(setup: str, name: str = "demo-1.0") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in (("PKG-INFO", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"), ("setup.py", setup)):
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def egg(members: dict[str, bytes]) -> bytes:
    return zipped(("EGG-INFO/PKG-INFO", b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"), *members.items())


def install(place: Path) -> None:
    """As pip does, into a folder that is then one for `site`."""
    import site

    target = place.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(target), str(place)]
    subprocess.run(pip, check=True, timeout=120)
    site.addsitedir(str(target))


def build_source(place: Path) -> None:
    """As pip does with what lies in a source package."""
    with tarfile.open(place) as archive:
        archive.extractall(place.parent / "source", filter="data")
    (folder,) = (place.parent / "source").iterdir()
    subprocess.run([sys.executable, str(folder / "setup.py"), "-q", "--name"], timeout=120, check=False)


_PTH = f"import os; os.system({COMMAND!r})\n".encode()
_SHELL = f"import os\nos.system({COMMAND!r})\n"
_FETCH = """import urllib.request, subprocess
u = urllib.request.urlopen('http://127.0.0.1/')
subprocess.run([u.read()])
"""
_CODE = base64.b64encode(f'open("{MARKER}", "w")'.encode())
_CODED = f"import base64\nexec(base64.b64decode({_CODE!r}))\n"
_INIT = {"demo_model/__init__.py": b"x = 1\n"}
_INFO = "demo_model-1.0.dist-info"


def _wheel(
    name: str,
    members: dict[str, bytes],
    verdict: str,
    rule: str,
    trick: str,
    loads: Callable[[Path], None] | None = None,
    **how: str,
) -> Sample:
    build = written("demo_model-1.0-py3-none-any.whl", lambda: wheel({**_INIT, **members}, **how))
    return Sample(f"wheel/{name}", "wheel", build, (verdict,), rule=rule, trick=trick, loads=loads)


def _sdist(name: str, setup: str, verdict: str, rule: str, trick: str) -> Sample:
    build = written("demo-1.0.tar.gz", lambda: source(setup))
    return Sample(f"sdist/{name}", "sdist", build, (verdict,), rule=rule, trick=trick, loads=build_source)


def _egg(name: str, members: dict[str, bytes], verdict: str, rule: str, trick: str) -> Sample:
    build = written("demo-1.0-py3.11.egg", lambda: egg(members))
    return Sample(f"egg/{name}", "egg", build, (verdict,), rule=rule, trick=trick)


NEEDS = ("setuptools",)
SAMPLES = (
    Sample("wheel/honest", "wheel", _built("bdist_wheel"), ("review",), honest=True, needs=NEEDS),
    Sample("sdist/honest", "sdist", _built("sdist"), ("review",), honest=True, needs=NEEDS),
    Sample("egg/honest", "egg", _built("bdist_egg"), ("review",), honest=True, needs=NEEDS),
    _wheel("pth", {"demo.pth": _PTH}, "danger", "package.startup", "Every start of Python runs it.", install),
    _wheel("pth-plain", {"demo.pth": b"import demo_model\n"}, "review", "package.startup", "The same, without harm."),
    _wheel("pth-path", {"demo.pth": b"/tmp/elsewhere\n"}, "danger", "package.path", "Modules of another folder."),
    _wheel("sitecustomize", {"sitecustomize.py": b"x = 1\n"}, "danger", "package.startup", "Every start imports it."),
    _wheel("pth-detour", {"demo_model-1.0.data/data/lib/python3.11/site-packages/x.pth": _PTH}, "danger",
           "package.startup", "The file lands among the packages by way of the data."),
    _wheel("jupyter", {"demo_model-1.0.data/data/etc/jupyter/jupyter_server_config.d/x.json": b"{}"}, "review",
           "package.place", "An extension of Jupyter's server is switched on."),
    _wheel("script", {"demo_model-1.0.data/scripts/git": b"#!/bin/sh\nexit\n"}, "danger", "package.shadows-command",
           "It puts another git on the path."),
    _wheel("script-plain", {"demo_model-1.0.data/scripts/demo": b"#!python\n"}, "review", "package.script",
           "It puts a script on the path."),
    _wheel("entry-point", {f"{_INFO}/entry_points.txt": b"[console_scripts]\npip = demo_model:main\n"}, "danger",
           "package.shadows-command", "It makes a command that is called pip."),
    _wheel("module", {"torch/__init__.py": b"x = 1\n"}, "danger", "package.shadows-module", "It writes over PyTorch."),
    _wheel("shell", {"demo_model/run.py": _SHELL.encode()}, "danger", "package.acts-at-import", "A shell at import."),
    _wheel("fetch", {"demo_model/run.py": _FETCH.encode()}, "danger", "package.acts-at-import",
           "It fetches something and runs it."),
    _wheel("coded", {"demo_model/run.py": _CODED.encode()}, "danger", "package.hidden-code", "Code that is decoded."),
    _wheel("pickle", {"demo_model/w.pkl": HARM}, "danger", "pickle.gadget", "A pickle among its data."),
    _wheel("changed", {}, "unverifiable", "package.changed", "A file was changed afterwards.",
           spoil="demo_model/__init__.py"),
    _wheel("unlisted", {"demo_model/more.py": b"x = 2\n"}, "review", "package.unlisted", "A file was added afterwards.",
           unlisted="demo_model/more.py"),
    _wheel("escape", {"../../x.py": b"x = 1\n"}, "danger", "archive.path", "It lands outside of the packages."),
    _sdist("shell", _SHELL + "from setuptools import setup\nsetup()\n", "danger", "package.setup",
           "Building it starts a shell."),
    _sdist("fetch", "from setuptools import setup\n" + _FETCH + "setup()\n", "danger", "package.setup",
           "Building it fetches something and runs it."),
    _sdist("later", "import os\nfrom setuptools import setup\nfrom setuptools.command.install import install\n\n\n"
           "class I(install):\n    def run(self):\n        os.system('true')\n\n\nsetup(cmdclass={'install': I})\n",
           "review", "package.setup", "Its own way of installing starts a shell."),
    _egg("shell", {"demo/__init__.py": _SHELL.encode()}, "danger", "package.acts-at-import", "A shell at import."),
    _egg("script", {"EGG-INFO/scripts/ls": b"#!/bin/sh\n"}, "danger", "package.shadows-command", "Another ls."),
)  # fmt: skip
