"""Python code that comes with models: a library's own files, and repositories whose files do harm together."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from planted_repositories import REPOSITORIES

from sample_set import COMMAND, Sample, written

AT_USE = ("helper function", "base class in helper", "import in function")
"""Of the repositories, those whose payload waits until the model is used."""
NOT_WITH_THE_COMMAND = ("exec text from helper", "payload file of another name", "patch from helper")
"""Those whose payload is no command, so that nothing is written when they are imported."""


def _library(*names: str) -> Callable[[Path], Path]:
    """Files of the transformers library in a folder, without the library's folders around them."""

    def build(folder: Path) -> Path:
        spec = find_spec("transformers")
        assert spec is not None
        assert spec.origin is not None
        for name in names:
            source = Path(spec.origin).parent / "models" / name
            text = source.read_text("utf-8").replace("from ... ", "from transformers ")
            text = text.replace("from ...", "from transformers.")
            (folder / source.name).write_text(text, "utf-8")
        config = {"model_type": "x", "auto_map": {"AutoConfig": f"{Path(names[0]).stem}.X"}}
        (folder / "config.json").write_text(json.dumps(config), "utf-8")
        return folder

    return build


def _one_file(folder: Path) -> Path:
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    return Path(shutil.copy(Path(spec.origin).parent / "models" / "resnet.py", folder / "modeling_resnet.py"))


def _repository(files: dict[str, str]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        first = next(iter(files)).removesuffix(".py").replace("/", ".")
        for name, source in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(source.replace("'id'", repr(COMMAND)), "utf-8")
        (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": f"{first}.M"}}), "utf-8")
        return folder

    return build


def imports(folder: Path) -> None:
    """Import the first file of a repository as a module of a package, as transformers does."""
    (entry,) = json.loads((folder / "config.json").read_text("utf-8"))["auto_map"].values()
    module = f"{folder.name}.{entry.rpartition('.')[0]}"
    code = f"import sys; sys.path[:0] = [{str(folder.parent)!r}, {str(folder)!r}]; import {module}"
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, timeout=60)


SAMPLES = (
    Sample("python/resnet", "python", _one_file, ("review",), honest=True, needs=("timm",)),
    Sample(
        "python/clip-files", "python", _library("clip/configuration_clip.py", "clip/modeling_clip.py"), ("review",),
        honest=True, needs=("transformers",),
    ),
    Sample(
        "python/vocabulary", "python", _library("gpt2/tokenization_gpt2.py", "t5/tokenization_t5.py"), ("review",),
        honest=True, needs=("transformers",),
    ),
    *(
        Sample(
            f"python/{name.replace(' ', '-')}", "python", _repository(files),
            ("review",) if name in AT_USE else ("danger",), trick=f"Several files: {name}.",
            rule="code.can-act" if name in AT_USE else "code.acts-at-import",
            loads=None if name in (*AT_USE, *NOT_WITH_THE_COMMAND) else imports,
        )
        for name, files in REPOSITORIES.items()
    ),
    Sample(
        "python/one-line-of-millions", "python", written("modeling_x.py", lambda: b"x = [" + b"1," * 1_000_000 + b"]"),
        ("unverifiable",), rule="code.size", trick="Reading it takes gigabytes.",
    ),
    Sample(
        "python/brackets-in-brackets", "python", written("modeling_x.py", lambda: b"(" * 9_000 + b")" * 9_000),
        ("unverifiable",), rule="code.syntax", trick="Nested more deeply than Python reads.",
    ),
)  # fmt: skip
