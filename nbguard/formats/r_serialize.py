"""R's serialized objects (`saveRDS`, `save`): every item read, and the code among them kept to be looked at.

    found = read(view)
    found.code          # functions, calls, promises, with where they are
    found.packages      # namespaces that R loads while it reads

Nothing is evaluated, and numbers are passed over. Source: `src/main/serialize.c` of R 4.4 (`ReadItem_Recursive`,
`ReadBC`, `ReadBCLang`). What follows the depth of the file is a generator on a list here, so that no depth of it is one
of Python's.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from nbguard.formats.r_items import (
    ALTERNATIVE,
    ATTR_CALL,
    ATTR_PAIRS,
    BUILTIN,
    BYTECODE,
    CALL,
    CHARS,
    CLOSURE,
    COMPLEX,
    DOTS,
    ENVIRONMENT,
    EXPRESSIONS,
    INTEGER,
    LOGICAL,
    MISSING,
    NAMESPACE,
    NIL,
    PACKAGE,
    PAIRS,
    PERSISTENT,
    POINTER,
    PROMISE,
    RAW,
    REAL,
    REFERENCE,
    REP_DEFINE,
    REP_REFERENCE,
    S4,
    SPECIAL,
    STRINGS,
    SYMBOL,
    UNBOUND,
    VECTOR,
    WEAK,
    Code,
    Node,
    Reading,
)
from nbguard.formats.r_stream import LONGEST, RError, Stream, looks_like, open_stream
from nbguard.formats.view import View

MAX_ITEMS = 8_000_000
"""Items of one file, each text of a vector of texts being one."""
MAX_DEPTH = 4_000
"""Items within each other; R's own reader ends at about that many."""
MAX_REFERENCES = 500_000
MAX_CODE = 400_000
"""Items of code that are kept."""
MAX_NAME, MAX_TEXT = 256, 512
"""Characters of a name and of a text that are kept."""
MAX_FOUND = 20_000
"""Functions, calls and promises, and packages."""
_NAMED = {
    241: "<base>", 242: "<empty>", 247: "<namespace:base>", MISSING: "", UNBOUND: "<unbound>", 253: "<global>",
    254: "NULL", NIL: "NULL",
}  # fmt: skip
_NUMBERS = {LOGICAL: "integer", INTEGER: "integer", REAL: "real", COMPLEX: "complex", RAW: "raw"}
_HAS_ATTRIBUTES, _HAS_TAG, _ACTIVE = 1 << 9, 1 << 10, 1 << 27
_CELLS = (PAIRS, CALL, CLOSURE, PROMISE, DOTS)

Read = Generator[Any, Node, Node]


def read(view: View) -> Reading:
    """Read a whole file.

    Raises:
        RError: it is malformed, cut off, goes on behind its end, or is more than is looked at. Its attribute `seen`
            is what was read before that.
    """
    out = Reading()
    try:
        _Reader(open_stream(view), out).all()
    except RError as error:
        error.seen = out  # type: ignore[attr-defined]
        raise
    return out


class _Reader:
    def __init__(self, stream: Stream, out: Reading) -> None:
        self.stream, self.out = stream, out
        self.references: list[Node] = []
        self.kept = 0
        out.image = stream.image

    def all(self) -> None:
        version = self.stream.integer()
        self.stream.integer(), self.stream.integer()  # R that wrote it, R that is needed
        if version not in (2, 3):
            raise RError("It has a version that R does not write.")
        if version == 3:
            self.stream.text(self._count(self.stream.integer(), 64))
        self._run(self.item("top" if not self.stream.image else "image", ""))
        if self.stream.left():
            raise RError("Something follows its end.")

    def _run(self, first: Read) -> None:
        """Drive the generators: one that yields another waits for what that returns."""
        stack: list[Read] = [first]
        value: Node | None = None
        while stack:
            try:
                inner = stack[-1].send(value)  # type: ignore[arg-type]
            except StopIteration as done:
                stack.pop()
                value = done.value
                continue
            stack.append(inner)
            value = None
            if len(stack) > MAX_DEPTH:
                raise RError("Its items lie within each other more deeply than is followed.")

    def _count(self, number: int, most: int) -> int:
        if not 0 <= number <= most:
            raise RError("A length in it is none.")
        return number

    def _length(self) -> int:
        """`ReadLENGTH`: -1 announces a length in two parts."""
        number = self.stream.integer()
        if number == -1:
            high, low = self.stream.integer(), self.stream.integer() & 0xFFFFFFFF
            number = (high << 32) + low
        return self._count(number, self.stream.left())

    def _took(self, code: bool = False) -> None:
        self.out.items += 1
        self.kept += code
        if self.out.items > MAX_ITEMS or self.kept > MAX_CODE:
            raise RError("It holds more items than are looked at.")

    def _refer(self, node: Node) -> Node:
        if len(self.references) >= MAX_REFERENCES:
            raise RError("It holds more names and environments than are looked at.")
        self.references.append(node)
        return node

    def _found(self, kind: str, where: str, node: Node, context: str) -> None:
        if len(self.out.code) >= MAX_FOUND:
            raise RError("It holds more pieces of code than are looked at.")
        bound, top = context == "binding", context in ("top", "variable")
        self.out.code.append(Code(kind, where, node, bound, top))

    # Contexts: `image` the list of variables, `variable` one of them, `top` the one value of saveRDS; `table` and
    # `frame` the insides of an environment, `binding` a variable in it; `code` what lies within code; `data` the rest.

    def item(self, context: str, where: str, flags: int | None = None) -> Read:
        if flags is None:
            flags = self.stream.integer()
        type = flags & 0xFF
        self._took(context == "code")
        if type in _NAMED:
            return Node(type, _NAMED[type])
        if type in _CELLS:
            return (yield self.cells(type, flags, context, where))
        if type == REFERENCE:
            index = flags >> 8 or self.stream.integer()
            if not 1 <= index <= len(self.references):
                raise RError("It refers to an item that is not there.")
            return self.references[index - 1]
        if type == SYMBOL:
            name = yield self.item("data", where)
            if name.type != CHARS:
                raise RError("The name of a symbol in it is no text.")
            return self._refer(Node(SYMBOL, name.text[:MAX_NAME]))
        if type in (NAMESPACE, PACKAGE, PERSISTENT):
            return self._environment_by_name(type)
        if type == ENVIRONMENT:
            return (yield self.environment(where))
        if type == ALTERNATIVE:
            return (yield self.alternative(where))
        inner = context if context == "code" else "data"
        node = yield self.vector(type, context, where)
        if flags & _HAS_ATTRIBUTES:
            yield self.item(inner, where)
        return node

    def vector(self, type: int, context: str, where: str) -> Read:
        stream = self.stream
        node = Node(type)
        if type in _NUMBERS:
            node.length = self._length()
            node.values = stream.numbers(_NUMBERS[type], node.length)
        elif type == CHARS:
            node.text = self._chars()[:MAX_TEXT]
        elif type == STRINGS:
            node.length = self._length()
            for number in range(node.length):
                flags = stream.integer()
                if flags & 0xFF != CHARS:
                    raise RError("There is something else where a text should stand.")
                text = self._chars()
                self._took()
                if number < 6:
                    node.items.append(Node(CHARS, text[:MAX_TEXT]))
                if flags & _HAS_ATTRIBUTES:
                    yield self.item("data", where)
        elif type in (VECTOR, EXPRESSIONS):
            inner = {"table": "frame", "code": "code"}.get(context, "data")
            inner = "code" if type == EXPRESSIONS else inner
            node.length = self._length()
            for _ in range(node.length):
                part = yield self.item(inner, where)
                if inner == "code":
                    node.items.append(part)
            if type == EXPRESSIONS and context != "code" and node.length:
                self._found("expression", where, node, context)
        elif type in (SPECIAL, BUILTIN):
            node.text = _decoded(stream.text(self._count(stream.integer(), LONGEST)))
            if context != "code":
                self._found("function", where, node, context)
        elif type == BYTECODE:
            self.out.bytecode += 1
            reps: list[Node | None] = [None] * self._count(stream.integer(), min(stream.left(), MAX_REFERENCES))
            node = yield self.bytecode(reps, where)
            if context != "code":
                self._found("expression", where, node, context)
        elif type == POINTER:
            self._refer(node)
            yield self.item("data", where)
            yield self.item("data", where)
        elif type == WEAK:
            self._refer(node)
        elif type != S4:
            raise RError("It holds an item of a type that R does not write.")
        return node

    def _chars(self) -> str:
        length = self.stream.integer()
        if length == -1:
            return "NA"
        return _decoded(self.stream.text(self._count(length, self.stream.left())))

    def _environment_by_name(self, type: int) -> Node:
        if self.stream.integer() != 0:
            raise RError("The name of an environment in it is none.")
        texts = []
        for _ in range(self._count(self.stream.integer(), 64)):
            if self.stream.integer() & 0xFF != CHARS:
                raise RError("The name of an environment in it is no text.")
            texts.append(self._chars())
        name = texts[0] if texts else ""
        if type == PERSISTENT:
            self.out.persistent = True
        elif len(self.out.packages) < MAX_FOUND:
            self.out.packages.setdefault(name, "namespace" if type == NAMESPACE else "package")
        return self._refer(Node(type, f"<environment:{name[:100]}>"))

    def environment(self, where: str) -> Read:
        node = self._refer(Node(ENVIRONMENT, "<environment>"))
        self.stream.integer()  # locked
        for context in ("data", "frame", "table", "data"):  # the enclosing one, its list and its table, attributes
            yield self.item(context, where)
        return node

    def alternative(self, where: str) -> Read:
        info = yield self.item("state", where)
        state = yield self.item("state", where)
        yield self.item("data", where)
        parts = [part.text for part in info.items[:2]]
        if info.type != PAIRS or len(parts) < 2:
            raise RError("A value in it does not say in which way it is kept.")
        if len(self.out.classes) < MAX_FOUND:
            self.out.classes.append((parts[0], parts[1], state))
        return Node(ALTERNATIVE, f"<{parts[0][:60]}>")

    def cells(self, type: int, flags: int, context: str, where: str) -> Read:
        """A pair list or a call as far as its cells go, or one function or promise."""
        inside = context == "code" or type in (CALL, CLOSURE, PROMISE)
        keeps = inside or context == "state"
        node = Node(type)
        while True:
            if flags & _HAS_ATTRIBUTES:
                yield self.item("code" if context == "code" else "data", where)
            tag = (yield self.item("data", where)) if flags & _HAS_TAG else None
            name = tag.text if tag is not None and tag.type == SYMBOL else ""
            kind = flags & 0xFF
            if kind in (CLOSURE, PROMISE):
                return (yield self.function(kind, context, where))
            inner = "code" if inside else {"image": "variable", "frame": "binding"}.get(context, "data")
            if type == DOTS and context == "binding":  # the further arguments of a function, promises all of them
                inner = "binding"
            if context == "image":
                where = name[:200]
                self.out.names.append(where)
            value = yield self.item(inner, where)
            if flags & _ACTIVE and len(self.out.active) < 100 and value.type in (CLOSURE, BUILTIN, SPECIAL):
                self.out.active.append(name[:200])
            if keeps:
                node.items.append(value)
                node.names.append(name)
            flags = self.stream.integer()
            if flags & 0xFF != PAIRS:
                break
            self._took(inside)
        tail = yield self.item("code" if inside else "data", where, flags)
        if keeps and tail.type not in (NIL, 254):
            node.items.append(tail)
            node.names.append("")
        if type == CALL and context != "code":
            self._found("call", where, node, context)
        return node

    def function(self, kind: int, context: str, where: str) -> Read:
        """What follows the environment of a closure (arguments, body) or of a promise (value, expression)."""
        first = yield self.item("code" if kind == CLOSURE else "data", where)
        second = yield self.item("code", where)
        node = Node(kind, items=[first, second], names=["", ""])
        if context != "code" or kind == PROMISE:
            waits = kind == PROMISE and first.type == UNBOUND
            self._found("function" if kind == CLOSURE else "promise" if waits else "evaluated", where, node, context)
        return node

    # Byte code: numbers that R's own machine runs, and a table of constants, the source first.

    def bytecode(self, reps: list[Node | None], where: str) -> Read:
        code = yield self.item("code", where)
        if code.type != INTEGER:
            raise RError("Byte code in it is no row of numbers.")
        node = Node(BYTECODE)
        for _ in range(self._count(self.stream.integer(), self.stream.left())):
            type = self.stream.integer()
            if type == BYTECODE:
                part = yield self.bytecode(reps, where)
            elif type in (CALL, PAIRS, REP_DEFINE, REP_REFERENCE, ATTR_CALL, ATTR_PAIRS):
                part = yield self.constant(type, reps, where)
            else:
                part = yield self.item("code", where)
            node.items.append(part)
        return node

    def constant(self, type: int, reps: list[Node | None], where: str) -> Read:
        """`ReadBCLang`: calls and pair lists among constants, which may be the same one several times."""
        node: Node | None = None
        while True:
            self._took(True)
            if type == REP_REFERENCE:
                index = self.stream.integer()
                found = reps[index] if 0 <= index < len(reps) else None
                if found is None:
                    raise RError("Byte code in it refers to a constant that is not there.")
                tail = found
                break
            if type not in (CALL, PAIRS, REP_DEFINE, ATTR_CALL, ATTR_PAIRS):
                tail = yield self.item("code", where)
                break
            cell = Node(0)
            if type == REP_DEFINE:
                index, type = self.stream.integer(), self.stream.integer()
                if not 0 <= index < len(reps):
                    raise RError("Byte code in it defines a constant outside of its table.")
                reps[index] = cell
            if type in (ATTR_CALL, ATTR_PAIRS):
                yield self.item("code", where)
            cell.type = CALL if type in (CALL, ATTR_CALL) else PAIRS
            tag = yield self.item("code", where)
            value = yield self.constant(self.stream.integer(), reps, where)
            cell.items.append(value)
            cell.names.append(tag.text if tag.type == SYMBOL else "")
            if node is None:
                node = cell
            else:
                node.items.append(value)
                node.names.append(cell.names[0])
                cell.items, cell.names = [value], cell.names[:]
            type = self.stream.integer()
        if node is None:
            return tail
        if tail.type not in (NIL, 254):
            node.items += tail.items if tail.type == PAIRS else [tail]
            node.names += tail.names if tail.type == PAIRS else [""]
        return node


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


__all__ = ["RError", "looks_like", "read"]
