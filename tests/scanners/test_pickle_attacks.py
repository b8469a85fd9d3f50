"""Every trick on the pickle machine and on the allowlist that we know of, by what it does. None may come out clean."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from pickle_forge import (
    ADDITEMS,
    APPEND,
    APPENDS,
    BINPERSID,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    MARK,
    NEWOBJ,
    NONE,
    OBJ,
    POP,
    PROTO4,
    REDUCE,
    SETITEM,
    SETITEMS,
    STACK_GLOBAL,
    TUPLE1,
    TUPLE2,
    call,
    get,
    literal,
    name,
    number,
    program,
    put,
    raw,
    stack_name,
    text,
)

from nbguard.report.model import Verdict
from nbguard.scanners.facts import Facts
from nbguard.scanners.pickle import scan_stream

SHELL = name("os", "system")
RUN = call(SHELL, text("true"))


def scan(data: bytes, container: str = "pickle") -> Facts:
    return scan_stream(data, file="sample", container=container)[0]


class Shell:
    def __reduce__(self) -> object:
        return os.system, ("true",)


def frozen_state(template: str) -> bytes:
    return literal({"_parse_arg_template": template, "shapes": None, "_ctor_param": {}})


ALLOWED_NAMES_MISUSED = {
    "ufunc reconstruct imports by string": call(name("numpy.core", "_ufunc_reconstruct"), text("os"), text("system")),
    "ufunc reconstruct under its new name": call(
        name("numpy._core", "_ufunc_reconstruct"), text("builtins"), text("exec")
    ),
    "getattr reaches a function's globals": call(
        name("builtins", "getattr"), name("torch._utils", "_rebuild_tensor_v2"), text("__globals__")
    ),
    "getattr reaches a class's dunder": call(
        name("__builtin__", "getattr"), name("collections", "OrderedDict"), text("__init__")
    ),
    "getattr on a function that is no class": call(
        name("builtins", "getattr"), name("torch._utils", "_rebuild_tensor_v2"), text("func")
    ),
    "getattr result is called": call(
        call(name("builtins", "getattr"), name("collections", "OrderedDict"), text("fromkeys")), EMPTY_LIST
    ),
    "attrgetter and itemgetter": call(
        call(name("operator", "attrgetter"), text("__globals__")), name("torch._utils", "_rebuild_tensor_v2")
    ),
    "the result of itemgetter is called": call(call(name("operator", "itemgetter"), text("x")), EMPTY_DICT),
    "a distribution is given its own code": name("scipy.stats._continuous_distns", "norm_gen")
    + EMPTY_TUPLE
    + NEWOBJ
    + frozen_state("import os; os.system('true')")
    + BUILD,
    "a distribution with a shape that is code": name("scipy.stats._continuous_distns", "norm_gen")
    + EMPTY_TUPLE
    + NEWOBJ
    + literal({"_parse_arg_template": "x", "shapes": "a=__import__('os').system('true')"})
    + BUILD,
    "fx graph module with source": call(
        name("torch.fx.graph_module", "reduce_graph_module"), literal({"_code": "def forward(self): pass"}), text("")
    ),
    "an array of a shape and memory": name("numpy", "ndarray") + literal(((2**30,), "O")) + NEWOBJ,
    "memmap is called": call(name("numpy", "memmap"), text("x"), text("float64"), text("w+")),
    "memmap is made by NEWOBJ": name("numpy", "memmap") + literal(("x", "f8", "w+")) + NEWOBJ,
    "state for a function": name("torch._utils", "_rebuild_tensor_v2") + literal({"__name__": "x"}) + BUILD,
    "slot state for a function": name("torch._utils", "_rebuild_tensor_v2")
    + literal((None, {"__defaults__": (1,)}))
    + BUILD,
    "items for a class": name("collections", "OrderedDict") + text("a") + number(1) + SETITEM,
    "appending to a module's list": name("sys", "path") + text("x") + APPEND,
    "extending a module's list": name("sys", "meta_path") + MARK + text("x") + APPENDS,
    "adding to a global": name("collections", "OrderedDict") + MARK + text("x") + ADDITEMS,
    "writing to copyreg": name("copyreg", "dispatch_table") + text("a") + number(1) + SETITEM,
    "writing to the name map": name("_compat_pickle", "NAME_MAPPING")
    + MARK
    + literal(("a", "b"))
    + literal(("os", "system"))
    + SETITEMS,
    "a write first, then harmless names": name("_compat_pickle", "IMPORT_MAPPING")
    + text("collections")
    + text("os")
    + SETITEM
    + POP
    + call(name("collections", "OrderedDict")),
    "DataSource only gets state": name("numpy.lib._datasource", "DataSource")
    + EMPTY_TUPLE
    + NEWOBJ
    + literal({"_istmpdest": True, "_destpath": "x"})
    + BUILD,
    "partial of a shell": call(name("functools", "partial"), SHELL, text("true")),
    "partial given a shell by its state": call(name("functools", "partial"), name("builtins", "dict"))
    + MARK
    + SHELL
    + literal(("true",))
    + EMPTY_DICT
    + NONE
    + b"t"
    + BUILD,
    "defaultdict with a factory that acts": call(name("collections", "defaultdict"), name("breakable", "factory")),
    "a scalar that is an object": call(
        name("numpy.core.multiarray", "scalar"),
        call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88"),
        text("x"),
    ),
    "type as a constructor of code": call(name("builtins", "type"), text("x"), EMPTY_TUPLE, EMPTY_DICT),
    "map over a shell": call(name("builtins", "map"), SHELL, literal(["true"])),
    "functools.reduce": call(name("__builtin__", "reduce"), SHELL, literal(["true"])),
    "marshalled code": call(name("types", "FunctionType"), call(name("marshal", "loads"), raw(b"x")), EMPTY_DICT),
    "dill's module namespace": name("__builtin__", "__main__"),
    "dill makes a function": call(name("dill._dill", "_create_function"), NONE),
    "cloudpickle imports": call(name("cloudpickle.cloudpickle", "subimport"), text("os")),
    "torch reductions": call(name("torch.multiprocessing.reductions", "rebuild_storage_fd"), NONE),
    "a multiprocessing proxy": call(name("multiprocessing.managers", "RebuildProxy"), NONE),
    "a codec that decompresses": call(name("_codecs", "encode"), text("x"), text("zlib")),
    "rebuild_from_type calls what it is given": call(
        name("torch._tensor", "_rebuild_from_type_v2"), SHELL, name("torch", "Tensor"), literal(("true",)), NONE
    ),
    "a tensor with a hook": call(
        name("torch._utils", "_rebuild_tensor_v2"),
        NONE,
        number(0),
        EMPTY_TUPLE,
        EMPTY_TUPLE,
        b"\x89",
        call(name("collections", "OrderedDict")) + text("h") + SHELL + SETITEM,
    ),
    "a hook put in later": name("collections", "OrderedDict")
    + EMPTY_TUPLE
    + REDUCE
    + put(7)
    + POP
    + call(name("torch._utils", "_rebuild_tensor_v2"), NONE, number(0), EMPTY_TUPLE, EMPTY_TUPLE, b"\x89", get(7))
    + POP
    + get(7)
    + text("h")
    + name("json", "loads")
    + SETITEM,
    "a module with its own forward": name("torch.nn.modules.linear", "Linear")
    + EMPTY_TUPLE
    + NEWOBJ
    + EMPTY_DICT
    + text("forward")
    + name("mystery", "run")
    + SETITEM
    + BUILD,
    "a module with a hook": name("torch.nn.modules.linear", "Linear")
    + EMPTY_TUPLE
    + NEWOBJ
    + EMPTY_DICT
    + text("_forward_hooks")
    + EMPTY_DICT
    + number(0)
    + name("mystery", "run")
    + SETITEM
    + SETITEM
    + BUILD,
    "a booster whose handle is a number": name("xgboost.core", "Booster")
    + EMPTY_TUPLE
    + NEWOBJ
    + literal({"handle": 1234})
    + BUILD,
    "an unlisted class of the standard library": name("tempfile", "_TemporaryFileCloser") + EMPTY_TUPLE + NEWOBJ,
    "a program as a module": name("somepackage.__main__", "x"),
    "a reconstructor from an odd base": call(
        name("copyreg", "_reconstructor"), name("collections", "OrderedDict"), SHELL, NONE
    ),
    "a bit generator from a string of another kind": call(
        name("numpy.random._pickle", "__generator_ctor"), text("MT19937"), SHELL
    ),
    "an index of a class that is none": call(
        name("pandas.core.indexes.base", "_new_Index"), name("subprocess", "Popen"), literal({"args": "true"})
    ),
}


@pytest.mark.parametrize("trick", ALLOWED_NAMES_MISUSED, ids=str)
def test_allowed_names_misused(trick: str) -> None:
    facts = scan(program(ALLOWED_NAMES_MISUSED[trick]))
    assert facts.verdict is Verdict.DANGER, [f.message for f in facts.findings]
    assert all(len(f.evidence) <= 2000 and "\n" not in f.message for f in facts.findings)


MACHINE_TRICKS = {
    "GLOBAL and REDUCE": program(RUN),
    "STACK_GLOBAL": program(call(stack_name("os", "system"), text("true")), proto=PROTO4),
    "names out of the memo": program(
        text("system") + put(1) + POP + text("os") + get(1) + STACK_GLOBAL + literal(("true",)) + REDUCE, proto=PROTO4
    ),
    "INST": b"(S'true'\nios\nsystem\n.",
    "INST without arguments": b"(ios\nabort\n.",
    "OBJ": program(MARK + SHELL + text("true") + OBJ),
    "OBJ without arguments": program(MARK + name("os", "abort") + OBJ),
    "OBJ without arguments on an unknown name": program(MARK + name("mystery", "run") + OBJ),
    "NEWOBJ": program(name("subprocess", "Popen") + literal(("true",)) + NEWOBJ),
    "BUILD without a call": program(name("subprocess", "Popen") + EMPTY_TUPLE + NEWOBJ + EMPTY_DICT + BUILD),
    "a dotted name": program(stack_name("os.path", "os.system") + literal(("true",)) + REDUCE, proto=PROTO4),
    "a dotted name walks through globals": program(
        call(stack_name("torch._utils", "_rebuild_tensor_v2.__globals__.__getitem__"), text("os")), proto=PROTO4
    ),
    "a dotted name switches a guard off": program(
        call(stack_name("__main__", "MODE.__setitem__"), number(0), number(1)), proto=PROTO4
    ),
    "a Python 2 spelling": program(call(name("__builtin__", "eval"), text("1"))),
    "a Python 2 module": program(call(name("commands", "getoutput"), text("true"))),
    "a Python 2 string in protocol 0": b"cos\nsystem\n(S'tr\\x75e'\ntR.",
    "the posix spelling": program(call(name("posix", "system"), text("true"))),
    "the payload first, then a crash": b"\x80\x02" + RUN + POP + b"\xff\xff",
    "the payload first, then the end": b"\x80\x02" + RUN,
    "the payload first, then a stack underflow": program(RUN + POP + POP + POP),
    "a second program": pickle.dumps({"a": 1}) + program(RUN),
    "a payload in the keys of a dictionary": program(EMPTY_DICT + RUN + NONE + SETITEM),
    "the value is thrown away": program(RUN + POP + NONE),
    "an unknown function": program(call(name("mystery", "run"), text("true"))),
    "a test helper runs a string": program(call(name("numpy.testing._private.utils", "runstring"), text("1"))),
    "runpy": program(call(name("runpy", "run_path"), text("x"))),
    "pip's own main": program(call(name("pip", "main"), EMPTY_LIST)),
    "timeit": program(call(name("timeit", "timeit"), text("1"))),
    "a debugger runs a string": program(call(name("pdb", "run"), text("1"))),
    "a profiler runs a string": program(call(name("cProfile", "run"), text("1"))),
    "importlib": program(call(name("importlib", "import_module"), text("os"))),
    "webbrowser": program(call(name("webbrowser", "open"), text("x"))),
    "a socket": program(call(name("socket", "create_connection"), literal(("127.0.0.1", 1)))),
    "torch.hub": program(call(name("torch.hub", "load"), text("x"))),
    "torch.load inside": program(call(name("torch", "load"), text("x"))),
    "numpy.load inside": program(call(name("numpy", "load"), text("x"))),
    "ctypes": program(call(name("ctypes", "CDLL"), text("x"))),
    "writing a file": program(call(name("pathlib", "Path.write_text"), text("x"), text("y"))),
    "rmtree": program(call(name("shutil", "rmtree"), text("x"))),
    "pickle.loads inside": program(call(name("_pickle", "loads"), raw(pickle.dumps(Shell())))),
    "EXT1": program(b"\x82\x01"),
    "EXT4": program(b"\x84\x01\x00\x00\x00"),
    "a module persistent id with source": program(
        literal("module") + name("torch.nn.modules.linear", "Linear") + text("x.py") + text("source") + b"t" + BINPERSID
    ).replace(b"\x80\x02", b"\x80\x02(", 1),
    "name of a name": program(name("os", "system.__call__")),
}


@pytest.mark.parametrize("trick", MACHINE_TRICKS, ids=str)
def test_machine_tricks(trick: str) -> None:
    container = "torch-legacy" if "persistent" in trick else "pickle"
    facts = scan(MACHINE_TRICKS[trick], container)
    assert facts.verdict is Verdict.DANGER, [f.message for f in facts.findings]


UNREADABLE = {
    "nothing": b"",
    "only a header": b"\x80\x02",
    "cut off": pickle.dumps(list(range(100)))[:50],
    "an unknown opcode": b"\x80\x02\xfe.",
    "a protocol of the future": b"\x80\x09N.",
    "a persistent id in a plain pickle": program(text("x") + BINPERSID),
    "a name computed at run time": program(
        call(name("builtins", "str"), text("os")) + text("system") + STACK_GLOBAL, proto=PROTO4
    ),
    "a name that is too long": b"c" + b"a" * 100_000 + b"\nb\n.",
    "a very deep tuple": b"\x80\x02N" + TUPLE1 * 10 + b"\xff",
    "a length beyond the end": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00",
    "a frame beyond the end": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x00N.",
    "text": b"hello, this is no pickle at all\n",
    "a program in an out-of-band buffer": program(
        call(name("torch.storage", "_load_from_bytes"), b"\x97"), proto=b"\x80\x05"
    ),
    "an array whose descriptor contradicts itself": program(
        call(name("numpy", "dtype"), text("V8"), b"\x89", b"\x88")
        + MARK
        + number(3)
        + text("|")
        + NONE
        + literal(("a",))
        + EMPTY_DICT
        + text("a")
        + call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
        + number(0)
        + TUPLE2
        + SETITEM
        + number(8)
        + number(1)
        + number(0)
        + b"t"
        + BUILD
    ),
    "an array whose item is larger than it says": program(
        call(name("numpy", "dtype"), text("V1"), b"\x89", b"\x88")
        + literal((3, "|", None, None, None, 40, 1, 0))
        + BUILD
    ),
    "a list of a range": program(call(name("builtins", "list"), call(name("builtins", "range"), number(2**30)))),
    "a fraction with an exponent": program(call(name("fractions", "Fraction"), text("1e999999999"))),
    "a bytearray of a terabyte": program(call(name("builtins", "bytearray"), b"\x8a\x06\x00\x00\x00\x00\x00\x01")),
}


@pytest.mark.parametrize("sample", UNREADABLE, ids=str)
def test_what_cannot_be_read_is_never_safe(sample: str) -> None:
    facts = scan(UNREADABLE[sample])
    assert facts.verdict is Verdict.UNVERIFIABLE, [f.message for f in facts.findings]


def test_a_payload_behind_junk_is_seen() -> None:
    assert scan(b"\x00\x01junk" + program(RUN)).verdict is Verdict.DANGER


def test_a_program_inside_bytes_that_are_encoded_text_is_seen() -> None:
    inner = program(RUN)
    nested = call(
        name("torch.storage", "_load_from_bytes"),
        call(name("_codecs", "encode"), text(inner.decode("latin1")), text("latin1")),
    )
    facts = scan(program(nested))
    assert facts.verdict is Verdict.DANGER
    assert {p.container for p in facts.programs} == {"pickle", "nested"}


def test_a_program_inside_a_program_inside_a_program_is_seen() -> None:
    data = program(RUN)
    for _ in range(3):
        data = program(call(name("torch.storage", "_load_from_bytes"), raw(data)))
    assert scan(data).verdict is Verdict.DANGER


def test_programs_inside_programs_have_an_end() -> None:
    data = program(NONE)
    for _ in range(20):
        data = program(call(name("torch.storage", "_load_from_bytes"), raw(data)))
    assert scan(data).verdict is Verdict.UNVERIFIABLE


def test_the_same_bytes_handed_on_again_and_again_are_read_once() -> None:
    """Forty calls with the same bytes out of the memo, eight programs deep: 40 ** 8 readings, or eight."""
    load = name("torch.storage", "_load_from_bytes")
    data = program(NONE)
    for _ in range(8):
        data = program(raw(data), put(0), POP, *[call(load, get(0)) + POP for _ in range(40)], NONE)
    facts = scan(data)
    assert facts.verdict is Verdict.SAFE
    assert len(facts.programs) == 9


@pytest.mark.parametrize("before", [b"", program(NONE) + b"\xff"])
def test_a_search_for_programs_in_programs_has_an_end(before: bytes) -> None:
    """Each level offers nine places where a program may start, and every one hands the same bytes on."""
    data = program(RUN)
    for _ in range(12):
        data = before + b"\x80\x02" * 9 + call(name("torch.storage", "_load_from_bytes"), raw(data))
    assert scan(data).verdict in (Verdict.SAFE, Verdict.UNVERIFIABLE)


def test_a_zip_inside_a_program_is_handed_on_or_unverifiable() -> None:
    data = program(call(name("torch.storage", "_load_from_bytes"), raw(b"PK\x03\x04 and so on")))
    assert scan(data).verdict is Verdict.UNVERIFIABLE
    seen: list[bytes] = []

    def nested(inside: bytes, what: str) -> Facts:
        seen.append(inside)
        return Facts(format="torch-zip")

    facts, _ = scan_stream(data, file="sample", nested=nested)
    assert facts.verdict is Verdict.SAFE
    assert seen == [b"PK\x03\x04 and so on"]


def dumped(value: object) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


def test_joblib_skips_by_the_validated_descriptor_only() -> None:
    honest = dumped(np.zeros(40, dtype="V1"))
    state = b"K\x01K\x01K\x00t"  # itemsize 1, alignment 1, flags 0: numpy believes what stands here
    assert state in honest
    assert scan(honest, "joblib").verdict is Verdict.SAFE
    assert scan(honest.replace(state, b"K\x28K\x01K\x00t"), "joblib").verdict is Verdict.UNVERIFIABLE


def test_a_wrapper_that_only_looks_like_joblibs_is_unverifiable() -> None:
    honest = dumped(np.arange(3.0))
    assert b"joblib.numpy_pickle" in honest
    fake = honest.replace(b"\x8c\x13joblib.numpy_pickle", b"\x8c\x13joblib.numpy_pickl_")
    assert scan(fake, "joblib").verdict is Verdict.UNVERIFIABLE


def test_joblib_payload_behind_an_array_is_seen() -> None:
    facts = scan(dumped([np.zeros(1000), Shell()]), "joblib")
    assert facts.verdict is Verdict.DANGER


def test_joblib_payload_inside_an_array_of_objects_is_seen() -> None:
    facts = scan(dumped([np.array([Shell(), None], dtype=object)]), "joblib")
    assert facts.verdict is Verdict.DANGER


@pytest.mark.parametrize("where", ["/etc/other.npy", "../other.npy", "a/b.npy", ".."])
def test_joblib_companions_stay_beside_the_file(where: str) -> None:
    wrapper = (
        name("joblib.numpy_pickle_compat", "NDArrayWrapper")
        + EMPTY_TUPLE
        + NEWOBJ
        + EMPTY_DICT
        + text("filename")
        + text(where)
        + SETITEM
        + text("subclass")
        + name("numpy", "ndarray")
        + SETITEM
        + BUILD
    )
    assert scan(program(wrapper), "joblib").verdict is Verdict.DANGER


def test_joblib_companions_have_to_be_there() -> None:
    wrapper = (
        name("joblib.numpy_pickle_compat", "NDArrayWrapper")
        + EMPTY_TUPLE
        + NEWOBJ
        + EMPTY_DICT
        + text("filename")
        + text("m.npy")
        + SETITEM
        + text("subclass")
        + name("numpy", "ndarray")
        + SETITEM
        + BUILD
    )
    assert scan(program(wrapper), "joblib").verdict is Verdict.UNVERIFIABLE
    facts, _ = scan_stream(program(wrapper), file="m.pkl", container="joblib", companions=frozenset({"m.npy"}))
    assert facts.verdict is Verdict.SAFE
    assert facts.companions == ["m.npy"]


def test_a_tree_whose_child_lies_outside_it_is_dangerous() -> None:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=2).fit(np.arange(8.0).reshape(-1, 1), [0, 0, 1, 1, 0, 0, 1, 1])
    honest = pickle.dumps(tree)
    assert scan(honest).verdict is Verdict.REVIEW
    nodes = tree.tree_.__getstate__()["nodes"]
    bad = nodes.copy()
    bad["left_child"][0] = 9999
    assert nodes.tobytes() in honest
    assert scan(honest.replace(nodes.tobytes(), bad.tobytes())).verdict is Verdict.DANGER
    assert scan(dumped(tree), "joblib").verdict is Verdict.REVIEW
    spoiled = dumped(tree).replace(nodes.tobytes(), bad.tobytes())
    assert scan(spoiled, "joblib").verdict is Verdict.DANGER


def test_a_write_to_the_name_map_is_danger_and_the_map_is_untouched(tmp_path: Path) -> None:
    import _compat_pickle

    before = dict(_compat_pickle.NAME_MAPPING)
    scan(program(name("_compat_pickle", "NAME_MAPPING") + text("x") + text("y") + SETITEM))
    assert before == _compat_pickle.NAME_MAPPING


def test_nothing_runs_while_scanning(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> object:
            return Path.touch, (marker,)

    for protocol in range(6):
        for payload in (Touch(), {"a": [Touch()]}):
            assert scan(pickle.dumps(payload, protocol)).verdict is Verdict.DANGER
    assert scan(dumped({"x": Touch()}), "joblib").verdict is Verdict.DANGER
    assert not marker.exists()


def test_an_extension_code_that_this_process_knows_is_still_refused() -> None:
    import copyreg

    copyreg.add_extension("os", "system", 0x7F01)
    try:
        facts = scan(program(b"\x83\x01\x7f" + literal(("true",)) + REDUCE))
        assert copyreg._inverted_registry[0x7F01] == ("os", "system")
    finally:
        copyreg.remove_extension("os", "system", 0x7F01)
    assert facts.verdict is Verdict.DANGER
