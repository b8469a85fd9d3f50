"""Text in YAML that a framework evaluates or imports: resolvers of OmegaConf, layers of Ultralytics, code for fairseq.

    for odd in judge(document): odd.rule, odd.message, odd.verdict

Sources: `omegaconf/omegaconf.py` (`register_new_resolver`) and `resolvers/oc`, `ultralytics/nn/tasks.py`
(`parse_model`; YOLOv5's `models/yolo.py` calls `eval` on the same words), `fairseq/utils.py` (`import_user_module`),
BentoML (`module` of `model.yaml`).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nbguard.report.model import Severity, Verdict
from nbguard.scanners.config_keys import leads_out, texts, walk
from nbguard.scanners.tables import table

MAX_FOUND = 60
INTERESTING = re.compile(
    rb"\$\{[^${}:]{0,80}:(?![-?+=])|\$\{[^{}]{0,40}\$\{"
    rb"|^[ \t]{0,200}[\"']?(?:user_dir|backbone|searchpath|bentoml_version)"
    rb"[\"']?[ \t]{0,20}:",
    re.MULTILINE,
)  # fmt: skip
_RESOLVER = re.compile(r"\$\{([^${}:]{1,80}):(?![-?+=])([^{}]{0,200})")
_COMPUTED = re.compile(r"\$\{[^{}:]{0,40}\$\{[^{}]{0,80}\}[^{}:]{0,40}:")
_SECRET = re.compile(r"secret|token|key|passw|credential|auth", re.IGNORECASE)
_LAYER = re.compile(r"(?:(?:torch\.)?nn\.|torchvision\.ops\.)?[A-Za-z]\w{0,60}", re.ASCII)
_PLAIN = re.compile(r"[\w. +:/-]{0,100}", re.ASCII)


@dataclass(frozen=True)
class Word:
    """One thing that such a text does."""

    rule: str
    where: str
    message: str
    evidence: str
    severity: Severity
    verdict: Verdict
    meaning: str


def judge(document: Any) -> list[Word]:
    """Everything of that kind in a document, the worst first. Raises `config_keys.TooMuchError`."""
    found = [*_resolvers(document), *_layers(document), *_imports(document)]
    return sorted(dict.fromkeys(found), key=lambda word: -word.verdict)[:MAX_FOUND]


def _resolvers(document: Any) -> Iterator[Word]:
    words = table("frameworks")["resolvers"]
    for key, text in texts(document):
        if "${" not in text:
            continue
        if _COMPUTED.search(text[:10_000]):
            yield Word(
                "yaml.resolver", key[:60], "It calls a function whose name the configuration puts together.",
                text[:300], Severity.HIGH, Verdict.REVIEW, "OmegaConf calls whatever has that name.",
            )  # fmt: skip
        for match in _RESOLVER.finditer(text[:10_000]):
            name, argument = match[1].strip(), match[2]
            if name in words["harmless"]:
                continue
            if name in ("oc.env", "env"):
                secret = _SECRET.search(argument)
                yield Word(
                    "yaml.environment", key[:60], f"It reads the variable {argument[:60]!r} of the environment.",
                    match[0], Severity.MEDIUM if secret else Severity.LOW, Verdict.REVIEW if secret else Verdict.SAFE,
                    "What it holds becomes a part of the configuration.",
                )  # fmt: skip
            elif name in words["acting"]:
                yield Word(
                    "yaml.resolver", key[:60], f"It has Python evaluate a text: {name[:40]}.", match[0],
                    Severity.CRITICAL, Verdict.DANGER,
                    "Where a resolver of that name is registered, that text is run as code.",
                )  # fmt: skip
            else:
                yield Word(
                    "yaml.resolver", key[:60], f"It calls the function that is registered as {name[:60]!r}.", match[0],
                    Severity.MEDIUM, Verdict.REVIEW, "Which function that is, the program that loads it decides.",
                )  # fmt: skip


def _layers(document: Any) -> Iterator[Word]:
    """The rows `[from, number, module, arguments]` of a network, and its activation, which were given to `eval`."""
    if not isinstance(document, dict):
        return
    for part in ("backbone", "head"):
        rows = document.get(part)
        for row in rows if isinstance(rows, list) else []:
            if not isinstance(row, list) or len(row) < 4:
                continue
            bad = [row[2]] if isinstance(row[2], str) and not _LAYER.fullmatch(row[2]) else []
            bad += [
                text for text in (t for _, t in texts([row[1], *row[3:]])) if not _PLAIN.fullmatch(text) or "__" in text
            ]
            for text in bad:
                yield _evaluated(part, text)
    for key in ("activation", "act"):
        activation = document.get(key)
        if isinstance(activation, str) and isinstance(document.get("backbone"), list) and not _is_layer(activation):
            yield _evaluated(key, activation)


def _evaluated(where: str, text: str) -> Word:
    return Word(
        "yaml.expression", where, "A layer of the network is more than a name and numbers.", text[:300],
        Severity.CRITICAL, Verdict.DANGER, "Ultralytics' loaders evaluate that text as Python.",
    )  # fmt: skip


def _is_layer(text: str) -> bool:
    """`nn.SiLU()`, `torch.nn.LeakyReLU(0.1, inplace=True)`, or a plain name."""
    if len(text) > 200:
        return False
    try:
        tree: ast.expr = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if isinstance(tree, ast.Call):
        if not all(isinstance(a, ast.Constant) for a in (*tree.args, *(k.value for k in tree.keywords))):
            return False
        tree = tree.func
    return bool(_LAYER.fullmatch(ast.unparse(tree)))


def _imports(document: Any) -> Iterator[Word]:
    context = document.get("context") if isinstance(document, dict) else None
    bento = isinstance(context, dict) and "bentoml_version" in context
    bento = bento or (isinstance(document, dict) and "bentoml_version" in document)
    for parents, key, value in walk(document):
        if not isinstance(value, str) or value in ("", "null", "~", "None"):
            continue
        where = ".".join((*parents, key))[-80:]
        if key == "user_dir":
            climbs = ".." in value.replace("\\", "/").split("/")
            yield Word(
                "yaml.user-code", where, f"It has fairseq import the code in the folder {value[:150]!r}.", value,
                Severity.HIGH, Verdict.DANGER if climbs else Verdict.REVIEW, "Importing it runs that code.",
            )  # fmt: skip
        elif key == "module" and bento:
            top = value.partition(".")[0]
            if top != "bentoml":
                never = top in sys.stdlib_module_names or not all(p.isidentifier() for p in value.split("."))
                yield Word(
                    "yaml.module", where, f"It has BentoML import {value[:120]}.", value, Severity.HIGH,
                    Verdict.DANGER if never else Verdict.REVIEW, "Importing a module runs its code.",
                )  # fmt: skip
    paths = document.get("hydra", {}) if isinstance(document, dict) else {}
    searched = paths.get("searchpath") if isinstance(paths, dict) else None
    for place in searched if isinstance(searched, list) else []:
        if isinstance(place, str) and not place.startswith("pkg://") and leads_out(place.removeprefix("file://")):
            yield Word(
                "yaml.outside", "hydra.searchpath", f"It takes parts of the configuration from {place[:150]}.", place,
                Severity.HIGH, Verdict.REVIEW, "What lies there says what is made and called.",
            )  # fmt: skip


__all__ = ["INTERESTING", "Word", "judge"]
