"""Classes that configurations name for a library to import and call.

    for finding, verdict in findings("2_Dense/config.json", document): ...

What such a name may be is said in `class_names.py`. Where they stand: a `Dense` module's `activation_function`, a
CrossEncoder's `activation_fn` and its older name, the types in `modules.json` and in a router, the pairs of
`model_index.json`, and the `auto_mapping` of an adapter (sentence-transformers 6.2, diffusers 0.42, peft 0.21).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.class_names import FREE, judge_class, judge_component
from nbguard.scanners.config_places import INDEXES
from nbguard.scanners.tables import table

MAX_NAMES = 1_000
"""Names of one file that are judged; an honest one has a dozen."""
_MEANING = {
    "never": "The library would import what it names, and call it, without asking: that is a way to run code.",
    "package": "Loading it may import that package, which runs its code; some loaders ask for trust_remote_code first.",
}
_REMEDY = "Ask the publisher why the configuration names it; do not load it otherwise."


def findings(path: str, value: Any, beside: frozenset[str] = frozenset()) -> list[tuple[Finding, Verdict]]:
    """What is to be said of the names in one JSON document. `beside` are the files in its folder."""
    out: list[tuple[Finding, Verdict]] = []
    if (
        isinstance(value, dict | list)
        and len(value) > MAX_NAMES
        and path.rpartition("/")[2].lower() in (*INDEXES, "modules.json")
    ):
        out.append(_too_many(path))
    for number, (place, name) in enumerate(_named(path.rpartition("/")[2].lower(), value)):
        if number >= MAX_NAMES:
            break
        judged = judge_class(name)
        if judged.level != "free":
            out.append(_finding(path, place, name, judged.level, judged.why))
    for place, library, name in _components(path.rpartition("/")[2].lower(), value):
        installed = library.partition(".")[0] in sys.stdlib_module_names
        if why := judge_component(library, name, installed=installed):
            out.append(_finding(path, place, f"{library}.{name}", "never", why))
        elif not _known_library(place, library, beside):
            why = "it is in another package, which releases of diffusers before 0.36 import"
            out.append(_finding(path, place, f"{library}.{name}", "package", why))
    return out


def _too_many(path: str) -> tuple[Finding, Verdict]:
    message = "It names more parts than any model has, and not all of them were looked at."
    return Finding("config.size", Severity.HIGH, path, "", message, remedy=_REMEDY), Verdict.UNVERIFIABLE


def _known_library(place: str, library: str, beside: frozenset[str]) -> bool:
    """Whether a component's library is one that diffusers itself loads from, or code of the repository."""
    known = table("repository")["components"]
    return (
        library in known["libraries"]
        or library in known["pipelines"]
        or f"{place}/{library}.py" in beside
        or f"{library}.py" in beside
        or library.partition(".")[0] in ("diffusers", "transformers", "diffusers_modules", "transformers_modules")
    )


def own_code(file: str, value: Any) -> list[tuple[str, str]]:
    """Code of the repository itself that such names may mean, for `references.resolve`.

    Returns:
        ("maybe", "unet/my_unet.py"): that file beside the configuration, where there is one; else the name means a
        library's own module. ("class", "my_module.Mine"): the file of that name, else a class of another package;
        ("class", "org/name--my_module.Mine") the same in another repository.
    """
    out: list[tuple[str, str]] = []
    for place, library, _ in _components(file, value):
        if "/" not in library and "." not in library:
            out += [("maybe", f"{place}/{library}.py"), ("maybe", f"{library}.py")]
    if file in INDEXES and isinstance(value, dict):
        kind = value.get("_class_name")
        if isinstance(kind, list) and kind and isinstance(kind[0], str):
            out.append(("maybe", f"{kind[0]}.py"))
    out += [("class", name) for name in _types(file, value) if not name.startswith(FREE)]
    return list(dict.fromkeys(out))[:MAX_NAMES]


def another_package(path: str, name: str) -> tuple[Finding, Verdict] | None:
    """What is to be said of a module's type that is no file of the repository; None where it is harmless."""
    judged = judge_class(name)
    return None if judged.level == "free" else _finding(path, "type", name, judged.level, judged.why)


def _types(file: str, value: Any) -> list[str]:
    """The modules that a model of sentence-transformers is put together from."""
    if file == "modules.json":
        rows = value if isinstance(value, list) else []
        return [str(row.get("type")) for row in rows if isinstance(row, dict)]
    types = value.get("types") if isinstance(value, dict) and isinstance(value.get("structure"), dict) else None
    return [str(t) for t in types.values()] if isinstance(types, dict) else []


def _finding(path: str, place: str, name: str, level: str, why: str) -> tuple[Finding, Verdict]:
    bad = level == "never"
    finding = Finding(
        "config.class",
        Severity.CRITICAL if bad else Severity.HIGH,
        path,
        place[:200],
        f"It names the class {name[:200]}, and {why}.",
        evidence=name[:500],
        meaning=_MEANING[level],
        remedy=_REMEDY,
    )
    return finding, Verdict.DANGER if bad else Verdict.REVIEW


def _named(file: str, value: Any) -> Iterator[tuple[str, str]]:
    """(where, dotted name) of every class that a library would import by its full name."""
    if not isinstance(value, dict):
        return
    tokenizer = value.get("tokenizer_class")
    if (
        isinstance(tokenizer, str) and "." in tokenizer and file != "tokenizer_config.json"
    ):  # of a WordEmbeddings module
        yield "tokenizer_class", tokenizer
    activation = value.get("activation_function")
    if isinstance(activation, str) and "." in activation:  # transformers has words like "gelu" there
        yield "activation_function", activation
    old = value.get("sbert_ce_default_activation_function")
    if isinstance(old, str):
        yield "sbert_ce_default_activation_function", old
    own = value if file == "config_sentence_transformers.json" else value.get("sentence_transformers")
    if isinstance(own, dict) and isinstance(own.get("activation_fn"), str):
        yield "activation_fn", own["activation_fn"]
    mapping = value.get("auto_mapping")
    if file == "adapter_config.json" and isinstance(mapping, dict):
        library, name = mapping.get("parent_library"), mapping.get("base_model_class")
        # peft lets in transformers and diffusers, and what it is told; before 0.17 it imported whatever was named.
        own = table("repository")["adapters"]["libraries"]
        if isinstance(library, str) and library != "__main__" and library.partition(".")[0] not in own:
            yield "auto_mapping", f"{library}.{name}"


def _components(file: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """(where, library, class) of every component of a pipeline."""
    if file not in INDEXES or not isinstance(value, dict):
        return
    for place, pair in list(value.items())[:MAX_NAMES]:
        if place.startswith("_") or not isinstance(pair, list) or len(pair) < 2:
            continue
        if isinstance(pair[0], str) and isinstance(pair[1], str):
            yield place, pair[0], pair[1]
