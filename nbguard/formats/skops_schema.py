"""What a skops file would have `skops.io.load` do, written down as the pickle program that does the same.

    program = translate(json.loads(schema), read_member)
    program.data, program.names         # a pickle that is never run; {("sklearn.svm._classes", "SVC"), …}

`schema.json` is a tree of nodes; each says which class to import and what to do with it: make it and give it state,
call it, walk to one of its methods. A pickle can say all of that, and what a pickle does is judged by one set of rules,
checks on arguments and states included. So each node becomes the opcodes that do what the node's `_construct` does.
The widest reading of all versions counts: `OperatorFuncNode` and `MethodNode` of old ones took names that the node
does not show, types of keys are called, an id may stand for two objects. Source: `skops/io` of skops 0.6 to 0.16.
"""

from __future__ import annotations

from typing import Any

from nbguard.formats.skops_nodes import NODES, PLAIN
from nbguard.formats.skops_tree import Member, Program, SkopsError, Tree

SCHEMA = "schema.json"
MAX_SCHEMA = 128 << 20
"""Bytes."""


def translate(schema: Any, member: Member) -> Program:
    """Raises SkopsError."""
    if not isinstance(schema, dict):
        raise SkopsError("The schema is no object.")
    protocol = schema.get("protocol")
    if type(protocol) is not int or not 0 <= protocol <= 100:
        raise SkopsError("The schema does not say its protocol.")
    done = Tree(member, protocol, NODES)
    done.grow(schema)
    done.program.data = done.out.finished()
    return done.program


__all__ = ["MAX_SCHEMA", "PLAIN", "SCHEMA", "Program", "SkopsError", "translate"]
