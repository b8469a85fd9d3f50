"""Honest code of large libraries raises nothing serious, and the same code with something planted does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from planted_code import STYLES

from nbguard.report.model import Severity
from nbguard.scanners.source import analyse
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


def serious(source: bytes) -> list[str]:
    found = [f"{a.effect.key} {a.name} line {a.line}" for a in analyse(source).acts if a.severity >= Severity.HIGH]
    return found + [what for _, what in oddities(source)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_honest_files_and_the_same_with_something_planted() -> None:
    styles = list(STYLES.items())
    flagged: dict[str, list[str]] = {}
    missed: list[str] = []
    count = 0
    for count, (name, path) in enumerate(files(), 1):
        source = path.read_bytes()
        if found := serious(source):
            flagged[name] = found
        style, planted = styles[count % len(styles)]
        if count % 3 == 0 and not serious(_planted(source, planted, at_the_end=count % 2 == 0)):
            missed.append(f"{style} in {name}")
    assert count > 1000
    assert set(flagged) <= set(EXPLAINED), {k: v for k, v in flagged.items() if k not in EXPLAINED}
    assert len(flagged) <= 5
    assert len(missed) <= 0.02 * (count // 3), missed


def _planted(source: bytes, planted: str, *, at_the_end: bool) -> bytes:
    lines = source.decode().splitlines()
    body = ast.parse(source).body
    imports = [s.end_lineno or 0 for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    at = len(lines) if at_the_end or not imports else imports[-1]
    return "\n".join([*lines[:at], planted, *lines[at:], ""]).encode()


@pytest.mark.parametrize("style", list(STYLES))
def test_every_style_is_found_by_itself(style: str) -> None:
    assert serious(STYLES[style].encode())


def test_there_are_at_least_forty() -> None:
    assert len(STYLES) >= 40
