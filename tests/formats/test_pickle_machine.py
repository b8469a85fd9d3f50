"""The inert machine: what it records, and that it neither runs, resolves, nor raises anything."""

from __future__ import annotations

import contextlib
import io
import pickle
import pickletools
import sys
from collections import OrderedDict
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickle_forge import (
    APPENDS,
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MARK,
    NEWOBJ,
    OBJ,
    POP,
    PROTO4,
    REDUCE,
    SETITEM,
    call,
    literal,
    name,
    program,
    stack_name,
    text,
)

from nbguard.formats.pickle_machine import (
    INSTANCED,
    PASS,
    RECALLED,
    RECORD,
    TOUCHED,
    Handling,
    Seen,
    Tape,
    mapped,
)
from nbguard.formats.pickle_run import Machine, PythonMachine, guarded, run
from nbguard.formats.pickle_source import Source, as_file


def record(data: bytes) -> tuple[Tape, Exception | None]:
    tape = Tape(lambda seen: RECORD)
    return tape, run(data, tape)


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


class Bag(dict[str, int]):
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_each_protocol_gives_the_same_verbs_for_a_call(protocol: int) -> None:
    tape, error = record(pickle.dumps(datetime(2020, 1, 1), protocol))
    assert error is None
    assert tape.seen["datetime", "datetime"].verbs == ("named", "reduce")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_instances_and_their_state_are_told_from_calls(protocol: int) -> None:
    tape, error = record(pickle.dumps([Point(1), Bag(a=1)], protocol))
    assert error is None
    verbs = {name: seen.verbs for (_, name), seen in tape.seen.items()}
    assert verbs == {"Point": ("build", "named", "newobj"), "Bag": ("mutated", "named", "newobj")}


def test_nothing_named_is_imported() -> None:
    module = "xml.dom.pulldom"
    sys.modules.pop(module, None)
    tape, error = record(program(call(name(module, "parse"), text("x"))))
    assert error is None
    assert tape.seen[module, "parse"].verbs == ("named", "reduce")
    assert module not in sys.modules


def test_calls_are_recorded_with_their_arguments(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    tape, error = record(program(call(name("pathlib", "Path.touch"), text(str(marker)))))
    assert error is None
    assert [(e.verb, e.arguments) for e in tape.seen["pathlib", "Path.touch"].events] == [("reduce", (str(marker),))]
    assert not marker.exists()


def test_instantiating_without_arguments_is_kept_apart() -> None:
    for data in (b"(ia\nb\n.", program(MARK + name("a", "b") + OBJ)):
        tape, error = record(data)
        assert error is None
        assert tape.seen["a", "b"].bits & INSTANCED
        assert tape.seen["a", "b"].verbs == ("named",)
    tape, _ = record(program(call(name("a", "b"))))
    assert tape.seen["a", "b"].verbs == ("named", "reduce")
    assert not tape.seen["a", "b"].bits & INSTANCED


@pytest.mark.parametrize(
    "opcodes",
    [literal({"a": 1}) + BUILD, text("k") + text("v") + SETITEM, MARK + text("x") + APPENDS],
    ids=["state", "item", "elements"],
)
def test_changes_to_the_global_itself_are_told_from_changes_to_its_instances(opcodes: bytes) -> None:
    tape, error = record(program(name("a", "b") + opcodes))
    assert error is None
    assert tape.seen["a", "b"].bits & TOUCHED
    tape, error = record(program(name("a", "b") + EMPTY_TUPLE + NEWOBJ + opcodes))
    assert error is None
    assert not tape.seen["a", "b"].bits & TOUCHED


def test_calling_a_result_is_told() -> None:
    tape, error = record(program(call(call(name("a", "b"), text("x")), text("y"))))
    assert error is None
    assert tape.seen["a", "b"].bits & RECALLED


def test_python_2_names_are_mapped_and_kept_raw() -> None:
    tape, _ = record(program(call(name("__builtin__", "set"), literal([]))))
    seen = tape.seen["__builtin__", "set"]
    assert (seen.module, seen.name, seen.raw_module, seen.raw_name) == ("builtins", "set", "__builtin__", "set")
    assert mapped("copy_reg", "_reconstructor") == ("copyreg", "_reconstructor")
    assert mapped("itertools", "imap") == ("builtins", "map")


def test_what_came_before_an_error_stays_recorded() -> None:
    tape, error = record(b"\x80\x02" + call(name("os", "system"), text("true")) + b"\xff")
    assert isinstance(error, pickle.UnpicklingError)
    assert tape.seen["os", "system"].verbs == ("named", "reduce")


def test_a_call_can_be_interpreted() -> None:
    handling = Handling(call=lambda seen, arguments, keywords: arguments[0].encode("latin1"))
    tape = Tape(lambda seen: handling if seen.name == "encode" else RECORD)
    inner = call(name("_codecs", "encode"), text("\x80ab"), text("latin1"))
    assert run(program(call(name("a", "b"), inner)), tape) is None
    assert tape.seen["a", "b"].events[0].arguments == (b"\x80ab",)


def test_kept_instances_hold_arguments_state_and_items() -> None:
    held = []
    handling = Handling(keep=True, build=lambda seen, made, state: held.append(made))
    tape = Tape(lambda seen: handling)
    data = program(call(name("a", "b"), text("x")) + text("k") + text("v") + SETITEM + literal({"s": 1}) + BUILD)
    assert run(data, tape) is None
    assert held[0].arguments == ("x",)
    assert list(held[0].items) == [("k", "v")]
    assert held[0].states == [{"s": 1}]


def test_several_programs_are_read_one_after_the_other() -> None:
    first, second = pickle.dumps(1), pickle.dumps(OrderedDict(a=1))
    source, tape = Source(first + second), Tape(lambda seen: PASS)
    assert run(source, tape) is None
    assert source.tell() == len(first)
    assert run(source, tape) is None
    assert source.tell() == len(first + second)


def test_the_machine_stands_right_behind_the_program_with_and_without_look_ahead() -> None:
    data = pickle.dumps(list(range(100_000)))
    for peeks in (True, False):
        source = Source(data + b"rest", peeks=peeks)
        assert run(source, Tape(lambda seen: PASS)) is None
        assert source.read() == b"rest"


def test_both_machines_see_the_same() -> None:
    samples = [Point(1), Bag(a=1), datetime(2020, 1, 1), {"a": {1, 2}}, [b"x", "y"], OrderedDict(a=1)]
    for protocol in range(6):
        data = pickle.dumps(samples, protocol)
        tapes = []
        for machine in (Machine, PythonMachine):
            tape = Tape(lambda seen: PASS)
            assert guarded(lambda m=machine, d=data, t=tape: m(as_file(d), t), tape) is None
            tapes.append({key: seen.bits for key, seen in tape.seen.items()})
        assert tapes[0] == tapes[1]


def test_limits_end_a_program() -> None:
    _, error = record(name("a" * 1000, "b") + b".")
    assert error is not None
    assert "1000 characters" in str(error)
    _, error = record(b"".join(name("m", f"n{i}") + POP for i in range(20_001)) + b"N.")
    assert error is not None
    assert "20000" in str(error)


def test_the_collector_and_the_extension_registry_are_as_before() -> None:
    import copyreg
    import gc

    copyreg.add_extension("os", "sep", 0x7F02)
    try:
        record(b"\xff")
        assert gc.isenabled()
        assert copyreg._inverted_registry[0x7F02] == ("os", "sep")
    finally:
        copyreg.remove_extension("os", "sep", 0x7F02)


GLOBALS = [
    ("os", "system"), ("collections", "OrderedDict"), ("a.b", "c.d"), ("copyreg", "_reconstructor"),
    ("builtins", "getattr"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"),
    ("_codecs", "encode"), ("torch._utils", "_rebuild_tensor_v2"), ("functools", "partial"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"), ("torch.nn.modules.linear", "Linear"), ("sklearn.tree._tree", "Tree"),
    ("scipy.stats._continuous_distns", "norm_gen"), ("torch._tensor", "_rebuild_from_type_v2"),
]  # fmt: skip
OPCODES = (
    [
        op.code.encode("latin1")
        for op in pickletools.opcodes
        if op.arg is None and op.name not in ("STOP", "NEXT_BUFFER")
    ]
    + [name(*pair) for pair in GLOBALS]
    + [stack_name(*pair) for pair in GLOBALS]
    + [literal(value) for value in (0, -1, "latin1", b"x", (), [], {}, ("b",), (0,), "b", {"a": 1}, None, True)]
    + [b"q\x00", b"h\x00", b"q\x01", b"h\x01"]
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(OPCODES), max_size=40), st.sampled_from([b"\x80\x02", PROTO4, b""]))
def test_no_exception_escapes_from_any_sequence_of_opcodes(opcodes: list[bytes], proto: bytes) -> None:
    from nbguard.scanners.facts import Facts
    from nbguard.scanners.pickle import scan_stream

    data = proto + b"".join(opcodes) + b"."
    for container in ("pickle", "joblib", "torch-legacy"):
        facts, end = scan_stream(data, file="sample", container=container)
        assert 0 <= end <= len(data)
        assert end > 0 or facts.verdict > 1
        assert Facts.from_json(facts.to_json()).verdict is facts.verdict


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_exception_escapes_from_any_bytes(data: bytes) -> None:
    from nbguard.scanners.pickle import scan_stream

    if any(data[i : i + 1] in b"rj\x94" and data[i + 3 : i + 5] > b"\x0f" for i in range(len(data))):
        return  # a memo index of gigabytes belongs into the worker, which has a limit on memory
    facts, _ = scan_stream(data, file="sample")
    assert facts.programs or facts.verdict > 1


HARMLESS = [
    ("collections", "OrderedDict"), ("datetime", "date"), ("builtins", "list"), ("builtins", "dict"), ("a.b", "c"),
    ("copyreg", "_reconstructor"), ("builtins", "object"), ("__builtin__", "set"), ("fractions", "Fraction"),
    ("builtins", "tuple"), ("_codecs", "encode"), ("builtins", "str"), ("collections", "Counter"), ("builtins", "len"),
]  # fmt: skip
HARMLESS_OPCODES = [op for op in OPCODES if not any(op in (name(*pair), stack_name(*pair)) for pair in GLOBALS)] + [
    form(*pair) for pair in HARMLESS for form in (name, stack_name)
]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(HARMLESS_OPCODES), max_size=30), st.sampled_from([b"\x80\x02", PROTO4, b""]))
def test_whatever_the_real_machine_resolves_was_seen_or_is_unverifiable(opcodes: list[bytes], proto: bytes) -> None:
    from nbguard.report.model import Verdict
    from nbguard.scanners.pickle import scan_stream

    data = proto + b"".join(opcodes) + b"."
    resolved: set[tuple[str, str]] = set()

    class Real(pickle.Unpickler):
        def find_class(self, module: str, qualname: str) -> object:
            resolved.add((module, qualname))
            return super().find_class(module, qualname)

        def persistent_load(self, identity: object) -> object:
            return identity

    with contextlib.suppress(Exception):
        Real(io.BytesIO(data)).load()
    facts, _ = scan_stream(data, file="sample", container="torch-zip", many=False)
    seen = {raw for use in facts.globals for raw in use.raw}
    assert resolved <= seen or facts.verdict >= Verdict.UNVERIFIABLE


def test_seen_knows_its_names() -> None:
    seen = Seen(Tape(lambda s: PASS), "__builtin__", "xrange")
    assert seen.dotted == "builtins.range"


def test_reduce_of_nothing_is_an_error_and_no_crash() -> None:
    for data in (REDUCE + b".", b"\x80\x02" + EMPTY_DICT + REDUCE + b".", BUILD + b".", b"0."):
        _, error = record(data)
        assert error is not None
