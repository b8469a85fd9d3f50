"""Files and folders that configurations of repositories name by their structure.

    for finding, verdict in findings("modules.json", [{"path": "../../x", "type": "…"}]): ...

Shards in an index of weights, the folders of a sentence-transformers model's modules and of a pipeline's components,
the arrays of a speaker. Each is joined to the repository's folder and opened; one that leads out of it is no accident.

Sources: `transformers/utils/hub.py` (`get_checkpoint_shard_files`), `sentence_transformers/base/model.py`
(`_load_modules`; releases before 6 joined any path), `sentence_transformers/base/modules/router.py`,
`diffusers/pipelines/pipeline_loading_utils.py` (`load_sub_model`), `transformers/models/bark/processing_bark.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.config_keys import leads_out

INDEXES = ("model_index.json", "modular_model_index.json")
MAX_FINDINGS = 20
SPEAKERS = "speaker_embeddings_path.json"


def findings(path: str, value: Any) -> list[tuple[Finding, Verdict]]:
    """What is to be said of the places in one document."""
    out: list[tuple[Finding, Verdict]] = []
    for where, place in _places(path.rpartition("/")[2].lower(), value):
        if leads_out(place):
            out.append(_outside(path, where, place))
        if len(out) >= MAX_FINDINGS:
            break
    return out


def _places(file: str, value: Any) -> Iterator[tuple[str, str]]:
    """(where in the document, path) of every file and folder."""
    if file == "modules.json" and isinstance(value, list):
        for row in value:
            if isinstance(row, dict) and isinstance(row.get("path"), str):
                yield "path", row["path"]
    if not isinstance(value, dict):
        return
    table = value.get("weight_map")
    if isinstance(table, dict):
        yield from dict.fromkeys(("weight_map", str(shard)) for shard in table.values())
    types = value.get("types")
    if isinstance(types, dict) and isinstance(value.get("structure"), dict):
        yield from (("types", str(folder)) for folder in types)
    if file in INDEXES:
        for name, held in value.items():
            if isinstance(held, list):
                yield name[:60], name if name.isidentifier() or leads_out(name) else f"../{name}"
        kind = value.get("_class_name")
        if isinstance(kind, list) and kind and isinstance(kind[0], str) and not kind[0].isidentifier():
            yield "_class_name", kind[0] if leads_out(kind[0]) else f"../{kind[0]}"
    if file == SPEAKERS:
        for voice, arrays in value.items():
            if isinstance(arrays, dict):
                yield from ((voice[:60], array) for array in arrays.values() if isinstance(array, str))


def _outside(path: str, where: str, place: str) -> tuple[Finding, Verdict]:
    finding = Finding(
        "config.outside",
        Severity.HIGH,
        path,
        where,
        f"It names a file or folder outside of its own: {place[:200]}",
        evidence=place[:500],
        meaning="Loading the model would open what lies there, as a part of the model.",
        remedy="Do not load it.",
    )
    return finding, Verdict.DANGER


__all__ = ["INDEXES", "SPEAKERS", "findings"]
