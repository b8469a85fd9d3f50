"""What the scanners say about ONNX graphs, GGUF templates and data files beside models."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

import nbguard
from nbguard.artifact.sources import open_path
from nbguard.formats.view import BytesView
from nbguard.report.model import Report, Verdict
from nbguard.scanners import scan_opened, templates
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.facts import Facts


def save(place: Path, *nodes: onnx.NodeProto, **metadata: str) -> Report:
    """A model of these operators, scanned."""
    tensor = numpy_helper.from_array(np.arange(8, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [8])], [tensor])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    helper.set_model_props(made, metadata)
    place.write_bytes(made.SerializeToString())
    return nbguard.scan(str(place))


def node(operator: str, domain: str = "", /, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, ["w"], ["y"], domain=domain, **attributes)


def rules(report: Report) -> list[str]:
    return [f.rule for f in report.findings]


@pytest.mark.parametrize(("operator", "domain"), [("Relu", ""), ("Scaler", "ai.onnx.ml"), ("Gelu", "com.microsoft")])
def test_operators_of_the_standard_and_the_runtime_are_safe(tmp_path: Path, operator: str, domain: str) -> None:
    report = save(tmp_path / "model.onnx", node(operator, domain))
    assert (report.verdict, report.files[0].format) == (Verdict.SAFE, "onnx")


@pytest.mark.parametrize(
    ("made", "verdict", "rule"),
    [
        (node("Tokenizer", "ai.onnx.contrib"), Verdict.REVIEW, "onnx.operator"),
        (node("Mine", "com.example"), Verdict.REVIEW, "onnx.operator"),
        (node("ATen", "com.microsoft", operator="load"), Verdict.REVIEW, "onnx.operator"),
        (node("PythonOp", "com.microsoft", func_name="os.system"), Verdict.DANGER, "onnx.python"),
        (node("Whatever", "pyop"), Verdict.DANGER, "onnx.python"),
        (node("EPContext", "com.microsoft", ep_cache_context="engine"), Verdict.REVIEW, "onnx.compiled"),
        (node("EPContext", "com.microsoft", ep_cache_context="e", embed_mode=0), Verdict.UNVERIFIABLE, "onnx.compiled"),
        (node("EPContext", "com.microsoft", ep_cache_context="../e", embed_mode=0), Verdict.DANGER, "onnx.compiled"),
    ],
)  # fmt: skip
def test_what_reaches_further_is_told(tmp_path: Path, made: onnx.NodeProto, verdict: Verdict, rule: str) -> None:
    report = save(tmp_path / "model.onnx", made)
    assert report.verdict is verdict
    assert rules(report) == [rule]


def test_options_in_the_metadata_are_told(tmp_path: Path) -> None:
    report = save(tmp_path / "model.onnx", node("Relu"), ort_config='{"session_options": {}}')
    assert (report.verdict, rules(report)) == (Verdict.REVIEW, ["onnx.session-options"])


def test_a_model_is_known_whatever_it_is_called(tmp_path: Path) -> None:
    assert save(tmp_path / "model.any", node("Relu")).files[0].format == "onnx"
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "model.any").read_bytes()[:-3])
    report = nbguard.scan(str(tmp_path / "cut.onnx"))
    assert (report.verdict, rules(report)) == (Verdict.UNVERIFIABLE, ["onnx.malformed"])


def test_the_graph_of_a_large_model_is_pinned(tmp_path: Path) -> None:
    """Files beyond `whole` are not hashed as a whole: the digest of all but the numbers pins the graph."""
    limits = dataclasses.replace(Limits(), whole=16)
    pins = set()
    for operator in ("Relu", "Tanh"):
        save(tmp_path / "model.onnx", node(operator))
        with open_path(tmp_path / "model.onnx") as opened:
            report = scan_opened(opened, limits=limits)
        assert report.files[0].sha256 is None
        pins.add(report.files[0].pin)
    assert len(pins) == 2


class TestDataBeside:
    def save(self, folder: Path, data: bytes, length: int | None = None) -> None:
        tensor = TensorProto(name="w", data_type=1, dims=[8], data_location=1)
        for key, value in (("location", "w.bin"), ("length", length)):
            if value is not None:
                tensor.external_data.add(key=key, value=str(value))
        graph = helper.make_graph([node("Relu")], "g", [], [helper.make_tensor_value_info("y", 1, [8])], [tensor])
        (folder / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
        (folder / "w.bin").write_bytes(data)

    def test_it_is_data(self, tmp_path: Path) -> None:
        self.save(tmp_path, b"\xff\xfe\x80\x01" * 8)
        for target in (tmp_path / "model.onnx", tmp_path):
            report = nbguard.scan(str(target))
            assert report.verdict is Verdict.SAFE
            assert {f.path: f.format for f in report.files} == {"model.onnx": "onnx", "w.bin": "raw-data"}

    def test_it_has_to_be_long_enough(self, tmp_path: Path) -> None:
        self.save(tmp_path, b"\xff" * 31)
        assert rules(nbguard.scan(str(tmp_path / "model.onnx"))) == ["data.cut-off"]

    def test_it_has_to_have_the_size_of_the_tensor(self, tmp_path: Path) -> None:
        self.save(tmp_path, b"\xff" * 64, length=64)
        assert rules(nbguard.scan(str(tmp_path / "model.onnx"))) == ["onnx.tensor-size"]

    def test_a_harmful_pickle_is_no_data_whoever_claims_it(
        self,
        tmp_path: Path,
    ) -> None:
        class Payload:
            def __reduce__(self) -> Any:
                import os

                return os.system, ("true",)

        self.save(tmp_path, pickle.dumps(Payload()))
        assert nbguard.scan(str(tmp_path / "model.onnx")).verdict is Verdict.DANGER

    def test_in_a_folder_only_what_nobody_knows_is_taken_for_data(self, tmp_path: Path) -> None:
        self.save(tmp_path, b"\x80\x04X\xff\xff\xff\xff broken")
        assert nbguard.scan(str(tmp_path)).verdict is Verdict.UNVERIFIABLE


def judged(source: str) -> Facts:
    facts = Facts()
    limits = Limits()
    job = Job("model.gguf", BytesView(b""), limits, Budget(limits.unpacked, limits.members))
    templates.judge(job, source, "tokenizer.chat_template", facts)
    return facts


@pytest.mark.parametrize(
    "source",
    [
        "{% for m in messages %}{{ '<|start|>' + m['role'] + '\\n' + m['content'] | trim + '<|end|>' }}{% endfor %}",
        "{%- if messages[0]['role'] == 'system' %}{%- set loop_messages = messages[1:] %}{%- endif %}",
        "{% set ns = namespace(x='') %}{% macro f(a) %}{{ a }}{% endmacro %}{{ f(ns.x).strip().split('</a>')[-1] }}",
        "{{ raise_exception('Roles must alternate: __user__ first') if x is not defined else strftime_now('%d %b') }}",
        "{{ tools | map(attribute='function') | selectattr('name', 'in', names) | list | tojson(indent=4) }}",
        "{% if (a or b) %}{% elif (x or '') in ['y'] and x is divisibleby(2) %}{% set (c, d) = (1, 2) %}{% endif %}",
        "{% generation %}{{ m.content }}{% endgeneration %}{{ '<__start__>' }}{% for a, b in d.items() %}{% endfor %}",
        "{{ bos_token ~ (messages | length > 1) ~ loop.index0 ~ messages[(loop.index0 - 1)]['role'] }}",
    ],
)
def test_templates_of_the_usual_words_are_safe(source: str) -> None:
    facts = judged(source)
    assert (facts.verdict, facts.findings) == (Verdict.SAFE, [])
    assert [c.kind for c in facts.code] == ["template"]


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ x['__globals__'] }}",
        "{{ x | attr('a') }}",
        "{{ x['\\x5f\\x5fclass\\x5f\\x5f'] }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{% set __builtins__ = x %}",
        "{{ self.__init__ }}",
        "{{ messages | map(attribute='__class__') | list }}",
    ],
)
def test_the_way_out_of_the_language_is_danger(source: str) -> None:
    assert judged(source).verdict is Verdict.DANGER


@pytest.mark.parametrize(
    "source",
    [
        "{% import 'other' as o %}",
        "{% include 'other' %}",
        "{{ lipsum() }}",
        "{{ x.mro() }}",
        "{{ x._private }}",
        "{{ x['__cl' ~ 'ass__'] }}",
        "{{ x[('_' * 2) + 'class' + ('_' * 2)] }}",
        "{{ (x)(y) }}",
        "{{ x | run }}",
        "{{ url_for.y }}{{ x.popen('id') }}",
    ],
)
def test_what_real_templates_do_without_is_told(source: str) -> None:
    assert judged(source).verdict >= Verdict.REVIEW


def test_what_is_no_template_is_unverifiable() -> None:
    assert judged("{% if").verdict is Verdict.UNVERIFIABLE


BAD, GOOD = "{{ ''.__class__ }}", "{{ messages[0].content }}"


@pytest.mark.parametrize(
    ("name", "held", "verdict"),
    [
        ("tokenizer_config.json", {"chat_template": GOOD}, Verdict.SAFE),
        ("tokenizer_config.json", {"chat_template": BAD}, Verdict.DANGER),
        ("tokenizer_config.json", {"chat_template": [{"name": "tools", "template": BAD}]}, Verdict.DANGER),
        ("chat_template.json", {"chat_template": BAD}, Verdict.DANGER),
        ("chat_template.jinja", GOOD, Verdict.SAFE),
        ("chat_template.jinja", BAD, Verdict.DANGER),
        ("additional_chat_templates/tools.jinja", BAD, Verdict.DANGER),
        ("notes.jinja", BAD, Verdict.SAFE),
    ],
)
def test_templates_of_tokenizers_are_read(tmp_path: Path, name: str, held: Any, verdict: Verdict) -> None:
    (tmp_path / "config.json").write_text("{}")
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "model.safetensors")
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(held if isinstance(held, str) else json.dumps(held))
    report = nbguard.scan(str(tmp_path))
    assert report.verdict is verdict
    assert not report.contract.code
