"""Caffe: the text of a network, and the binary with its weights.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import caffe_net
from nbguard.formats.caffe_net import CaffeNet
from nbguard.report.model import CodeFile, Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.companions import plain_location
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed, structure
from nbguard.scanners.other import judge as judge_other
from nbguard.scanners.tables import table

SEARCHED = 4 << 20
"""Bytes of a text in which a first layer is looked for."""
_SHOWN = 20


class CaffeScanner:
    name = "caffe"

    def recognise(self, job: Job) -> bool:
        if job.suffix == ".caffemodel" and b"\0" in job.head:
            return True
        if _is_text(job):
            return job.suffix == ".prototxt" or _is_network(job)
        return job.head[:1] in (b"\n", b"\x12", b"\xa2", b"\x1a") and caffe_net.looks_like_binary(job.view)

    def scan(self, job: Job) -> Facts:
        if _is_text(job):
            return _text(job)
        try:
            net = caffe_net.read_binary(job.view)
        except caffe_net.CaffeError as error:
            return malformed(job, "caffe-model", error)
        facts = plain(job, "caffe-model")
        facts.blocks = list(net.blocks)
        facts.counts.update(tensors=len(net.blocks), tensor_bytes=sum(b[2] for b in net.blocks))
        if job.size > job.limits.whole:
            facts.marks.append(structure(job, facts.blocks))
        for sentence in net.problems:
            facts.unverifiable("caffe-model.malformed", job.path, job.location, sentence)
        _judge(job, net, facts, described=False)
        return facts


SCANNER = CaffeScanner()


def _is_text(job: Job) -> bool:
    if b"\0" in job.head:
        return False
    return job.suffix == ".prototxt" or caffe_net.looks_like_text(job.view.read(0, SEARCHED))


def _is_network(job: Job) -> bool:
    """Whether the text is a network as far as it is read; what is too long for that counts as one."""
    try:
        return bool(caffe_net.read_text(job.view.read(0, caffe_net.MAX_TEXT)).layers)
    except caffe_net.CaffeSizeError:
        return True
    except caffe_net.CaffeError:
        return False


def _text(job: Job) -> Facts:
    data = job.view.read(0, caffe_net.MAX_TEXT + 1)
    try:
        net = caffe_net.read_text(data)
    except caffe_net.CaffeError as error:
        return malformed(job, "caffe-text", error)
    facts = plain(job, "caffe-text")
    facts.code.append(CodeFile(job.path, hashlib.sha256(data).hexdigest(), "caffe-text"))
    facts.counts.update(operations=sum(net.layers.values()))
    _judge(job, net, facts, described=True)
    text = judge_other(job)  # whatever reads texts by their name reads this one too
    text.regions = {}
    facts.read_too(text)
    return facts


def _judge(job: Job, net: CaffeNet, facts: Facts, *, described: bool) -> None:
    """Args: described: layers are made from it; otherwise only weights are taken out of it, by the names of layers."""
    rules = table("caffe")
    if net.python or "Python" in net.layers:
        _add(
            job,
            facts,
            Severity.CRITICAL if described else Severity.MEDIUM,
            "caffe.python",
            "A layer of it is Python code, which is imported by its name.",
            ", ".join(dict.fromkeys(net.python[:_SHOWN]))[:1000],
            "Caffe imports that module and runs it while the network is built."
            if described
            else "Caffe takes only weights from this file; the network that they belong to imports Python code.",
        )
    writes = sorted(set(net.layers) & rules["writes"])
    if writes:
        _add(
            job,
            facts,
            Severity.CRITICAL if described else Severity.MEDIUM,
            "caffe.writes",
            "A layer of it writes a file.",
            ", ".join([*writes, *(f"{k}={v!r}" for k, v in net.files[:_SHOWN])])[:1000],
            "Caffe opens that file for writing while the network is built." if described else _ONLY_WEIGHTS,
        )
    outside = [(k, v) for k, v in net.files if plain_location(v) is None]
    if described and net.files:
        _add(
            job,
            facts,
            Severity.HIGH if outside else Severity.MEDIUM,
            "caffe.files",
            "It names files"
            + (" outside of its folder" if outside else "")
            + " that are read or written when it is used.",
            ", ".join(f"{k}={v!r}" for k, v in [*outside, *net.files][:_SHOWN])[:1000],
            "Networks for training name their data so; one that is only to be used has no need of it.",
        )
    known = rules["layers"] | rules["writes"] | {"Python"}
    unknown = sorted(k for k in net.layers if k not in known and not (k.isdecimal() and int(k) < 40))
    if unknown and described:
        _add(
            job,
            facts,
            Severity.MEDIUM,
            "caffe.layer",
            "It uses layers that Caffe itself does not have.",
            ", ".join(unknown[:_SHOWN])[:1000],
            "What they do depends on the version of Caffe that it is loaded with.",
        )


_ONLY_WEIGHTS = "Caffe takes only weights from this file; the network that they belong to writes a file."


def _add(job: Job, facts: Facts, severity: Severity, rule: str, message: str, evidence: str, meaning: str) -> None:
    danger = severity is Severity.CRITICAL
    remedy = "Do not load it." if danger else "Read the text of the network before you accept."
    facts.add(
        Finding(rule, severity, job.path, job.location, message, evidence, meaning, remedy),
        Verdict.DANGER if danger else Verdict.REVIEW,
    )


FORMATS = (
    Format(
        "caffe-text",
        "Caffe networks in text",
        (".prototxt",),
        "its name, or the text format of Protocol Buffers with a `layer` that has a `type` in the first 4 MB",
        "every layer by its type, modules of layers in Python, and the paths that layers and the solver name",
        "shapes and settings of layers: Caffe checks these when it builds them",
        "*safe*; *review* for layers of forks and files that are named; *danger* for layers in Python, which are "
        "imported, and layers that write; *unverifiable* for a `.prototxt` that is not in the format",
        untested="Caffe is in no package; the text is written here as its examples are.",
    ),
    Format(
        "caffe-model",
        "Caffe weights",
        (".caffemodel",),
        "the fields of a `NetParameter` with a layer that has a name and a type, to the last byte",
        "layers by type, and that the weights of each are as many as their shape says",
        "settings of layers and fields that forks add: Caffe takes only weights from this file, by the names of layers",
        "*safe*; *review* where the network had layers in Python or such that write; *unverifiable* where weights and "
        "shapes do not agree",
        untested="Caffe is in no package; the message is built in code.",
    ),
)
