"""MXNet: parameters, and symbols, which are JSON.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from nbguard.formats import mxnet_params
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import document, malformed, structure
from nbguard.scanners.tables import table

MAX_NODES = 2_000_000
_SHOWN = 20
_SETTINGS = ("attrs", "attr", "param")
"""Where settings stand, by the version that wrote the symbol (`src/nnvm/legacy_json_util.cc`)."""


class MxnetScanner:
    name = "mxnet"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(mxnet_params.MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            blocks = mxnet_params.read(job.view)
        except mxnet_params.MxnetError as error:
            return malformed(job, "mxnet-params", error)
        facts = plain(job, "mxnet-params")
        facts.blocks = blocks
        facts.counts.update(arrays=len(blocks), array_bytes=sum(b[2] for b in blocks))
        if job.size > job.limits.whole:
            facts.marks.append(structure(job, blocks))
        return facts


SCANNER = MxnetScanner()


def from_json(job: Job) -> Facts:
    """A symbol. Facts of plain JSON where it is something else that has nodes and heads."""
    data = job.view.read(0, job.size)
    try:
        value = document(data)
        nodes = list(_nodes(value))
    except ValueError as error:
        return malformed(job, "mxnet-symbol", error)
    if not nodes:
        return Facts(format="json")
    facts = Facts(format="mxnet-symbol")
    facts.code.append(CodeFile(job.path, hashlib.sha256(data).hexdigest(), "mxnet-symbol"))
    facts.counts.update(operations=len(nodes))
    rules = table("mxnet")
    found: dict[str, list[str]] = {}
    for operator, settings in nodes:
        what = next((w for w in ("addresses", "reads", "custom", "computes") if operator in rules[w]), "")
        if what != "computes" and len(found.setdefault(what, [])) < _SHOWN:
            told = ", ".join(f"{k}={v!r}"[:200] for k, v in list(settings.items())[:8] if isinstance(v, str))
            found[what].append(f"{operator[:100]} ({told})" if told else operator[:100])
    for what, evidence in found.items():
        severity, message, meaning = _TEXTS[what]
        danger = severity is Severity.CRITICAL
        facts.add(
            Finding(
                "mxnet.operator",
                severity,
                job.path,
                job.location,
                message,
                "; ".join(dict.fromkeys(evidence))[:1000],
                meaning,
                "Do not load it." if danger else "Load it only with code that you know.",
            ),
            Verdict.DANGER if danger else Verdict.REVIEW,
        )
    return facts


_TEXTS = {
    "addresses": (
        Severity.CRITICAL,
        "An operator of it calls whatever lies at an address in this process.",
        "MXNet takes a setting of the file for the address of a function, and calls it.",
    ),
    "reads": (
        Severity.CRITICAL,
        "An operator of it reads a file by its name.",
        "It would read a file of yours into the model, from where it can be sent on.",
    ),
    "custom": (
        Severity.MEDIUM,
        "An operator of it is Python code of the program that loads it.",
        "MXNet calls the class that is registered under the name in op_type; what it does is not in this file.",
    ),
    "": (
        Severity.MEDIUM,
        "It uses operators that MXNet itself is not known to have.",
        "What they do depends on the library that is loaded for them, not on this file.",
    ),
}


def _nodes(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(operator, settings) of all nodes, those of inner graphs too. Raises ValueError where an index leads nowhere."""
    left, count = [value], 0
    while left:
        graph = left.pop()
        nodes, heads = graph.get("nodes"), graph.get("heads")
        if not isinstance(nodes, list) or not isinstance(heads, list):
            if graph is value:
                return
            raise ValueError("A graph within it has no nodes.")
        if graph is value and not all(isinstance(n, dict) and isinstance(n.get("op"), str) for n in nodes):
            return
        indices = [graph.get("arg_nodes", []), [h[0] if isinstance(h, list) and h else None for h in heads]]
        for node in nodes:
            count += 1
            if count > MAX_NODES or not isinstance(node, dict) or not isinstance(node.get("op"), str):
                raise ValueError("A node of it has no operator, or there are more than in any model.")
            settings: dict[str, Any] = {}
            for key in _SETTINGS:
                settings.update(node[key] if isinstance(node.get(key), dict) else {})
            yield node["op"], settings
            inputs = node.get("inputs", [])
            indices.append([i[0] if isinstance(i, list) and i else None for i in inputs] if inputs else [])
            inner = node.get("subgraphs", [])
            left += [g for g in inner if isinstance(g, dict)] if isinstance(inner, list) else []
        if any(not isinstance(i, int) or not 0 <= i < len(nodes) for row in indices for i in row):
            raise ValueError("A number in it leads to a node that is not there.")


FORMATS = (
    Format(
        "mxnet-params",
        "MXNet parameters",
        (".params", ".nd"),
        "the number 0x112 in its first eight bytes",
        "every array, dense or sparse: how it is stored, type, shape and length, and the names, to the last byte",
        "the numbers themselves, and whether the indices of sparse arrays fit them: MXNet has a check of its own",
        "*safe*; *unverifiable* where a length leads out of the file or something else lies behind",
    ),
    Format(
        "mxnet-symbol",
        "MXNet symbols",
        ("-symbol.json",),
        "JSON with `nodes` and `heads`, each node with an `op`",
        "operators of all graphs by name, and whether each index leads to a node",
        "what settings mean to an operator: MXNet checks these when it builds it",
        "*safe*; *review* for operators in Python or of libraries; *danger* for those that call an address or read a "
        "file; *unverifiable* where an index leads nowhere",
    ),
)
