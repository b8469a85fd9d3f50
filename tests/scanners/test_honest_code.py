"""Honest code of large libraries raises nothing serious, and the same code with something planted does."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from planted_code import STYLES
from planted_code_more import MORE
from planted_code_tricks import TRICKS
from planted_repositories import REPOSITORIES

from nbguard.report.model import Severity
from nbguard.scanners.source import analyse
from nbguard.scanners.source.analysis import follow
from nbguard.scanners.source.spelling import oddities

NAMES = ("modeling_", "configuration_", "tokenization_", "processing_", "image_processing_", "feature_extraction_")
EXPLAINED: dict[str, str] = {
    "diffusers/models/modeling_utils.py": "removes the folder that it offloaded weights to, itself",
    "diffusers/models/attention_dispatch.py": "fetches attention kernels from the Hub, which is code",
    "diffusers/models/autoencoders/ltx2_diffusion_decoder.py": "fetches an attention kernel from the Hub",
    "timm/models/_hub.py": "the library's own download function",
    "timm/models/_builder.py": "the library's own download function",
}
"""Files with a finding of severity high, and why they have one."""


def _place(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def files() -> Iterator[tuple[str, Path]]:
    """(name, path) of what a model repository would carry: modeling, configuration and tokenization files."""
    for package, folders in (("transformers", ("models",)), ("diffusers", ("models",)), ("timm", ("models",))):
        root = _place(package)
        for folder in folders:
            for path in sorted((root / folder).rglob("*.py")):
                if package != "transformers" or path.name.startswith(NAMES):
                    yield f"{package}/{path.relative_to(root).as_posix()}", path


PLACES = ("end", "imports", "__init__", "forward", "helper")
NEW = () if sys.version_info >= (3, 12) else ("type parameter", "type alias")
"""Styles in syntax that this Python does not know."""
ALL = {
    **STYLES,
    **{f"more: {name}": source for name, source in MORE.items() if name not in NEW},
    **{f"trick: {name}": source for name, source in TRICKS.items()},
}


def serious(source: bytes) -> list[str]:
    found = [f"{a.effect.key} {a.name} line {a.line}" for a in analyse(source).acts if a.severity >= Severity.HIGH]
    return found + [what for _, what in oddities(source)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_honest_files_and_the_same_with_something_planted() -> None:
    styles = list(ALL.items())
    flagged: dict[str, list[str]] = {}
    missed: list[str] = []
    planted = 0
    names = dict(files())
    for name, path in names.items():
        source = path.read_bytes()
        if found := serious(source):
            flagged[name] = found
        elif len(source) < 20_000 and planted < len(styles):
            style, text = styles[planted]
            text = _planted(source.decode(), text, PLACES[planted % len(PLACES)])
            planted += 1
            if not serious(text.encode()):
                missed.append(f"{style} in {name}")
    assert len(names) > 1000
    assert planted == len(styles)
    assert set(flagged) <= set(EXPLAINED), {k: v for k, v in flagged.items() if k not in EXPLAINED}
    assert len(flagged) <= 5
    assert len(missed) <= 0.02 * planted, missed


def _planted(source: str, planted: str, place: str) -> str:
    """The source with something planted; at its end, where it cannot stand at this place."""
    if planted.startswith("# -*-"):  # an encoding counts in the first line only
        return f"{planted}\n{source}\n"
    at_the_end = f"{source}\n{planted}\n"
    if planted.startswith(("__path__", "'")) or place == "end" or not _inside_a_function(planted):
        return at_the_end
    lines = source.split("\n")
    at, indent = len(lines), ""
    body = ast.parse(source).body
    if place == "imports":
        at = max((s.end_lineno or 0 for s in body if isinstance(s, ast.Import | ast.ImportFrom)), default=at)
    elif place == "helper":
        planted = _inside_a_function(planted)
    else:
        functions = [f for c in body if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, ast.FunctionDef)]
        into = next((f for f in functions if f.name in (place, {"forward": "__call__"}.get(place))), None)
        if into is None:
            return at_the_end
        at, indent = into.body[0].lineno - 1, " " * into.body[0].col_offset
    return "\n".join([*lines[:at], textwrap.indent(planted, indent), *lines[at:], ""])


def _inside_a_function(planted: str) -> str:
    """A function with it that is called; empty where it cannot stand in one."""
    whole = f"def helper(*a):\n{textwrap.indent(planted, '    ')}\nhelper()"
    try:
        compile(whole, "planted", "exec")
    except SyntaxError:
        return ""
    return whole


@pytest.mark.parametrize("style", list(ALL))
def test_every_style_is_found_by_itself(style: str) -> None:
    assert serious(ALL[style].encode())


@pytest.mark.parametrize("name", list(REPOSITORIES))
def test_what_several_files_do_together_is_found(name: str) -> None:
    sources = {path: text.encode() for path, text in REPOSITORIES[name].items() if path.endswith(".py")}
    assert [a for a in follow(sources) if a.severity >= Severity.HIGH]


def test_there_are_at_least_forty() -> None:
    assert len(STYLES) >= 40
    assert len(MORE) >= 400
