"""What is kept of R's serialized objects: the types of items, code, and what else is to be told of a file.

    node.type == CALL, node.items[0].text      # the function that is called

Source: `Rinternals.h` and `serialize.c` of R 4.4 for the numbers of the types.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NIL, SYMBOL, PAIRS, CLOSURE, ENVIRONMENT, PROMISE, CALL = range(7)
SPECIAL, BUILTIN, CHARS, LOGICAL, INTEGER, REAL, COMPLEX, STRINGS, DOTS = 7, 8, 9, 10, 13, 14, 15, 16, 17
VECTOR, EXPRESSIONS, BYTECODE, POINTER, WEAK, RAW, S4 = 19, 20, 21, 22, 23, 24, 25
ALTERNATIVE, ATTR_PAIRS, ATTR_CALL, REP_REFERENCE, REP_DEFINE = 238, 239, 240, 243, 244
PERSISTENT, NAMESPACE, PACKAGE, MISSING, UNBOUND, REFERENCE = 248, 249, 250, 251, 252, 255


@dataclass(slots=True)
class Node:
    """One item of code, or what little is kept of one of data."""

    type: int
    text: str = ""
    """Of symbols, texts, namespaces and the like."""
    items: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """The tags of `items`, for calls and pair lists; empty texts where there is none."""
    values: list[float] = field(default_factory=list)
    length: int = 0


@dataclass(frozen=True)
class Code:
    """Something that R would run, at some time or other."""

    kind: str
    """`function`, `call`, `expression`, `promise` (not evaluated yet), `evaluated` (a promise with its value)."""
    where: str
    """The variable that it is part of, for what `save` wrote."""
    node: Node
    bound: bool
    """The value of a variable of an environment itself, where honest promises are."""
    top: bool
    """The value of one of the variables that `save` wrote, or all that `saveRDS` wrote."""


@dataclass
class Reading:
    """What was read."""

    code: list[Code] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    """Namespace or package environment → which of the two."""
    classes: list[tuple[str, str, Node]] = field(default_factory=list)
    """(class, package, state) of each value that is kept in another way than as a plain vector."""
    active: list[str] = field(default_factory=list)
    """Variables whose value is what a function returns each time."""
    names: list[str] = field(default_factory=list)
    """Variables that `save` wrote."""
    bytecode: int = 0
    persistent: bool = False
    items: int = 0
    image: bool = False
