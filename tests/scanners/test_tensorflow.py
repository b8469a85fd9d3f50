"""TensorFlow's graphs: what operations do, where their paths come from, and files that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lite_forge import flex, lite
from tf_forge import constant, field, graph, node, saved_model, varint

from nbguard.artifact.sources import open_bytes
from nbguard.report.model import Report, Verdict
from nbguard.scanners import scan, scan_opened

X = node("x", "Placeholder")


def look(data: bytes, name: str = "saved_model.pb") -> Report:
    with open_bytes(data, name=name) as opened:
        return scan_opened(opened, loader="tf.saved_model.load")


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


SAVER = {
    "save": (
        ["file_prefix"],
        [
            constant("part", ".part"),
            constant("temp", "_temp/part"),
            node("cloud", "StaticRegexFullMatch", "file_prefix", pattern="^s3://.*"),
            node("choose", "Select", "cloud:output:0", "part:output:0", "temp:output:0"),
            node("join", "StringJoin", "file_prefix", "choose:output:0"),
            constant("shards", 1),
            node("file", "ShardedFilename", "join:output:0", "shards:output:0"),
            constant("names", "w/.ATTRIBUTES/VARIABLE_VALUE"),
            node("write", "SaveV2", "file:filename:0", "names:output:0"),
            node("merge", "MergeV2Checkpoints", "file:filename:0", "file_prefix"),
        ],
    )
}


def calls(name: str, path: str, function: str = "save") -> bytes:
    return node(name, "StatefulPartitionedCall", path, functions=[function])


def test_a_graph_that_computes_is_explained() -> None:
    report = look(saved_model([X, node("y", "Relu", "x")]))
    assert (report.verdict, report.findings) == (Verdict.SAFE, ())
    assert [c.kind for c in report.contract.code] == ["tensorflow"]


def test_a_saver_writes_where_its_caller_says() -> None:
    report = look(saved_model([node("saver_filename", "Placeholder"), calls("s", "saver_filename:0")], SAVER))
    assert (report.verdict, report.findings) == (Verdict.SAFE, ())


def test_a_saver_that_is_called_with_a_path_of_the_files_own() -> None:
    report = look(saved_model([constant("path", "/home/me/.bashrc"), calls("s", "path:0")], SAVER))
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"tensorflow.writes"})
    assert "/home/me/.bashrc" in report.findings[0].message


def test_the_same_through_a_function_between() -> None:
    between = {**SAVER, "between": (["p"], [calls("s", "p")])}
    honest = [X, node("c", "PartitionedCall", "x:0", functions=["between"])]
    assert look(saved_model(honest, between)).verdict is Verdict.SAFE
    harmful = [constant("path", "notes.txt"), node("c", "PartitionedCall", "path:0", functions=["between"])]
    assert look(saved_model(harmful, between)).verdict is Verdict.DANGER


def test_the_same_by_a_constant_that_is_bound_to_the_function() -> None:
    nodes = [constant("captured", "/tmp/x")]
    report = look(saved_model(nodes, SAVER, constants=["captured"], bound={"save": [0]}))
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"tensorflow.writes"})


@pytest.mark.parametrize(
    "path", [node("p", "DecodeBase64", "c:0"), node("p", "VarHandleOp"), node("p", "StatefulPartitionedCall")]
)
def test_a_path_that_is_computed_is_danger_where_it_is_written(path: bytes) -> None:
    report = look(saved_model([constant("c", "aGk"), path, calls("s", "p:0")], SAVER))
    assert report.verdict is Verdict.DANGER


def test_a_path_that_is_made_of_numbers_is_danger_where_it_is_written() -> None:
    nodes = [constant("c", 65), node("p", "UnicodeEncode", "c:0"), calls("s", "p:0")]
    assert look(saved_model(nodes, SAVER)).verdict is Verdict.DANGER


@pytest.mark.parametrize(
    "op",
    ["WriteFile", "PyFunc", "EagerPyFunc", "PyFuncStateless", "RemoteCall", "DataServiceDatasetV4", "SaveDatasetV2",
     "CreateSummaryFileWriter", "ImmutableConst"],
)  # fmt: skip
@pytest.mark.parametrize("inside", [False, True])
def test_operations_that_act_are_danger_wherever_they_stand(op: str, inside: bool) -> None:
    bad = node("bad", op, "x")
    report = look(saved_model([X], {"f": (["x"], [bad])}) if inside else saved_model([X, bad]))
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"tensorflow.operation"})
    assert op in report.summary[0]


def test_what_prints_into_a_file() -> None:
    assert look(saved_model([X, node("p", "PrintV2", "x", output_stream="file:///tmp/x")])).verdict is Verdict.DANGER
    assert look(saved_model([X, node("p", "PrintV2", "x", output_stream="stderr")])).verdict is Verdict.SAFE


def test_what_is_sent_to_a_debugger() -> None:
    urls = node("d", "DebugIdentityV2", "x", debug_urls="grpc://10.0.0.1:80")
    assert look(saved_model([X, urls])).verdict is Verdict.DANGER


def test_reading_a_file_of_the_machine() -> None:
    nodes = [constant("path", "/etc/passwd"), node("r", "ReadFile", "path:0")]
    assert (look(saved_model(nodes)).verdict, rules(look(saved_model(nodes)))) == (Verdict.DANGER, {"tensorflow.reads"})
    given = look(saved_model([X, node("r", "ReadFile", "x:0")]))
    assert (given.verdict, rules(given)) == (Verdict.REVIEW, {"tensorflow.reads"})


def test_a_vocabulary_among_the_assets_is_part_of_the_model() -> None:
    table = node("t", "InitializeTableFromTextFileV2", "table:0", "vocab:0")
    nodes = [constant("vocab", "vocab.txt"), node("table", "HashTableV2"), table]
    assert look(saved_model(nodes, assets={"vocab": "vocab.txt"})).verdict is Verdict.SAFE
    assert look(saved_model(nodes)).verdict is Verdict.REVIEW
    away = [constant("vocab", "/etc/passwd"), node("table", "HashTableV2"), table]
    assert look(saved_model(away)).verdict is Verdict.DANGER
    assert look(saved_model(nodes, assets={"vocab": "../../etc/passwd"})).verdict is Verdict.DANGER


def test_an_operation_that_tensorflow_does_not_have() -> None:
    report = look(saved_model([X, node("c", "MyOwnOp", "x")]))
    assert (report.verdict, rules(report)) == (Verdict.REVIEW, {"tensorflow.custom-operation"})


def test_a_function_called_by_its_name_is_no_unknown_operation() -> None:
    report = look(graph([X, node("c", "f", "x")], {"f": (["x"], [node("r", "Relu", "x")])}), "frozen.pb")
    assert report.verdict is Verdict.SAFE


def test_a_lambda_in_the_description_of_an_object() -> None:
    value = ["c29tZSBjb2Rl", None, None]
    text = json.dumps({"class_name": "Lambda", "config": {"function": value, "function_type": "lambda"}})
    assert look(saved_model([X], objects=[("_tf_keras_layer", text)])).verdict is Verdict.UNVERIFIABLE
    metadata = field(1, field(4, "_tf_keras_layer") + field(5, text))
    assert look(metadata, "keras_metadata.pb").verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x01",
        b"\x08\x01\x12\xff\xff\x03",
        saved_model([X])[:-4],
        saved_model([X + field(2, "Relu")]),
        saved_model([X], {"f": ([], [X])}) + field(2, field(2, b"\x0b")),
        field(1, 1) + varint(2 << 3 | 3),
    ],
)
def test_what_cannot_be_read_is_not_accepted(data: bytes) -> None:
    assert look(data).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb"])
def test_other_forms_that_tensorflow_would_load_are_not_passed_over(name: str, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(saved_model([X]))
    (tmp_path / name).write_bytes(b"saved_model_schema_version: 1")
    assert scan(str(tmp_path)).verdict is Verdict.UNVERIFIABLE


def test_a_frozen_graph_is_told_by_its_content() -> None:
    bad = graph([X, node("bad", "WriteFile", "x")])
    for name in ("frozen.pb", "model.bin", "graph"):
        assert look(bad, name).verdict is Verdict.DANGER


def test_a_lite_model_is_explained() -> None:
    report = look(lite(), "model.tflite")
    assert (report.verdict, report.findings) == (Verdict.SAFE, ())
    assert report.contract.layout


@pytest.mark.parametrize(
    "changes", [{"input": 7}, {"input": -2}, {"buffer": 9}, {"size": 12}, {"opcode": 3}], ids=lambda c: next(iter(c))
)
def test_numbers_that_lead_out_of_a_lite_model(changes: dict[str, int]) -> None:
    report = look(lite(**changes), "model.tflite")
    assert (report.verdict, rules(report)) == (Verdict.UNVERIFIABLE, {"tflite.bounds"})


def test_custom_operations_of_a_lite_model() -> None:
    assert look(lite(custom="TFLite_Detection_PostProcess"), "m.tflite").verdict is Verdict.SAFE
    assert look(lite(custom="MyOwnOp"), "m.tflite").verdict is Verdict.REVIEW
    assert look(lite(custom="FlexRelu", options=flex("Relu")), "m.tflite").verdict is Verdict.SAFE
    assert look(lite(custom="FlexWriteFile", options=flex("WriteFile")), "m.tflite").verdict is Verdict.DANGER
    assert look(lite(custom="FlexReadFile", options=flex("ReadFile")), "m.tflite").verdict is Verdict.REVIEW
    assert look(lite(custom="FlexRelu", options=b"?"), "m.tflite").verdict is Verdict.UNVERIFIABLE


def test_a_flex_operation_is_what_its_definition_says() -> None:
    report = look(lite(custom="FlexRelu", options=flex("WriteFile", "Relu")), "m.tflite")
    assert (report.verdict, rules(report)) == (Verdict.DANGER, {"tensorflow.operation"})


def test_a_lite_model_that_is_cut_off() -> None:
    data = lite()
    for length in range(8, len(data), 12):
        assert look(data[:length], "m.tflite").verdict is not Verdict.SAFE, length
