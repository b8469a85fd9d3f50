"""The tree of a skops schema: which node counts for an id, what it names, and the program that comes of it.

tree = Tree(read_member, protocol, NODES)
tree.node(schema, 0)
tree.program.names
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbguard.formats.pickle_writer import Writer

MAX_NODES = 2_000_000
MAX_DEPTH = 120
"""Nodes within nodes; skops recurses into them, and so does this."""

MAX_NESTED = 400
"""Lists and objects within each other."""

Member = Callable[[str], "bytes | None"]
"""Gives the bytes of a member of the zip; None where there is none, or it is too large."""
NodeWriter = Callable[["Tree", "dict[str, Any]", int], None]
"""Writes what one node constructs: the tree, the node, its depth."""


class SkopsError(ValueError):
    """A schema that skops never writes. The message is one plain sentence."""


@dataclass
class Program:
    """The translation of one schema."""

    data: bytes = b""
    names: set[tuple[str, str]] = field(default_factory=set)
    """Everything that is imported beyond `PLAIN`."""
    files: set[str] = field(default_factory=set)
    """Members that the schema asks for."""
    protocol: int = 0


class Tree:
    """Follows the nodes of one schema, and writes what they construct."""

    def __init__(self, member: Member, protocol: int, nodes: Mapping[str, NodeWriter]) -> None:
        self.member = member
        self.nodes = nodes
        self.out = Writer()
        self.program = Program(protocol=protocol)
        self.left = MAX_NODES
        self.states: dict[Any, Any] = {}
        """Id → the node that has it."""
        self.places: dict[int, int] = {}
        self._digests: dict[str, str] = {}
        self.open: set[int] = set()

    def grow(self, schema: dict[str, Any]) -> None:
        """Write what the whole schema constructs.

        Which of two nodes with one id counts depends on the order in which a version of skops visits them. So an id
        stands for one node only, however often that is written down: its classes, values and the contents of its files.
        """
        known: dict[Any, int] = {}
        shapes: dict[Any, int] = {}
        self._shape(schema, known, shapes, 0)
        self.node(schema, 0)

    def _shape(self, value: Any, known: dict[Any, int], shapes: dict[Any, int], depth: int) -> int:
        """A number for everything that says the same. Registers the nodes with an id on the way."""
        if depth > MAX_NESTED:
            raise SkopsError("The schema is nested too deeply.")
        shape: list[Any] = [type(value).__name__]
        if isinstance(value, list):
            for item in value:
                shape.append(self._shape(item, known, shapes, depth + 1))
        elif isinstance(value, dict):
            alone = value.get("__loader__") != "CachedNode"
            for key, item in value.items():
                if key == "file" and type(item) is str:
                    shape += (key, self._digest(item))
                elif key != "__id__" or not alone:
                    shape += (key, self._shape(item, known, shapes, depth + 1))
        else:
            shape.append(repr(value))
        number = shapes.setdefault(tuple(shape), len(shapes))
        if isinstance(value, dict) and value.get("__loader__") not in (None, "CachedNode"):
            node = _id(value)
            if node:
                if known.setdefault(node, number) != number:
                    raise SkopsError("Two different objects of the schema have the same id.")
                self.states.setdefault(node, value)
        return number

    def _digest(self, name: str) -> str:
        if name not in self._digests:
            self.program.files.add(name)
            self._digests[name] = hashlib.sha256(self.member(name) or b"").hexdigest()
        return self._digests[name]

    def node(self, state: Any, depth: int) -> None:
        """Leave on the stack what this node constructs."""
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise SkopsError("The schema is nested too deeply, or has more nodes than are followed.")
        if not isinstance(state, dict):
            raise SkopsError("A node of the schema is no object.")
        known = _id(state)
        if state.get("__loader__") == "CachedNode" and known not in self.states:
            raise SkopsError("A node of the schema stands for one that is not there.")
        state = self.states.get(known, state)
        loader = state.get("__loader__")
        if id(state) in self.open:
            raise SkopsError("A node of the schema holds itself.")
        if (place := self.places.get(id(state))) is not None:
            self.out.get(place)
            return
        write = self.nodes.get(loader) if isinstance(loader, str) else None
        if write is None:
            raise SkopsError(f"The schema has a node that is not known here: {str(loader)[:100]}.")
        self.open.add(id(state))
        write(self, state, depth + 1)
        self.open.discard(id(state))
        self.places[id(state)] = self.out.put()

    def first(self, state: Any) -> dict[str, Any]:
        """The node that counts for this one's id, where it has one."""
        if not isinstance(state, dict):
            raise SkopsError("A node of the schema is no object.")
        found: dict[str, Any] = self.states.get(_id(state), state)
        return found

    def named(self, module: Any, name: Any) -> str:
        """A global that something is done with."""
        if type(module) is not str or type(name) is not str or not module or not name or "\n" in module + name:
            raise SkopsError("A node of the schema names no class.")
        self.program.names.add((module, name))
        self.out.name(module, name)
        return f"{module}.{name}"

    def of(self, state: dict[str, Any]) -> str:
        return self.named(state.get("__module__"), state.get("__class__"))

    def content(self, state: dict[str, Any], *keys: str) -> Any:
        value: Any = state
        for key in ("content", *keys):
            if not isinstance(value, dict) or key not in value:
                raise SkopsError("A node of the schema is not complete.")
            value = value[key]
        return value

    def file(self, state: dict[str, Any]) -> bytes | None:
        name = state.get("file")
        if type(name) is not str:
            raise SkopsError("A node of the schema names no file.")
        self.program.files.add(name)
        return self.member(name)

    def rows(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise SkopsError("A node of the schema holds no list.")
        return value


def _id(state: dict[str, Any]) -> int | str | None:
    """A node's id. One of another type could equal it for Python and not here."""
    known = state.get("__id__")
    if known is not None and type(known) not in (int, str):
        raise SkopsError("A node of the schema has an id that is none.")
    return known or None


def dotted(state: dict[str, Any]) -> str:
    """The class that a node shows, `module.Class`."""
    return f"{state.get('__module__')}.{state.get('__class__')}"
