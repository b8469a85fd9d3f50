"""YAML as its nodes: what it holds, and every tag in it. Nothing is constructed.

    found = read(b"model: !new:torch.nn.Linear\\n  in_features: 2\\n")
    found.value              # {"model": {"in_features": "2"}}
    found.tags               # (Tag(name="!new:torch.nn.Linear", line=1, value={"in_features": "2"}),)

PyYAML's own parser composes the nodes; scalars stay text. Anchors are followed without copying, so that a bomb of
aliases costs nothing; a node that holds itself is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_BYTES = 4 << 20
"""Larger documents are no configuration of a model."""
MAX_DEPTH = 60
MAX_NODES = 400_000
_PLAIN = "tag:yaml.org,2002:"
_USUAL = frozenset(f"{_PLAIN}{n}" for n in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp", "merge",
                                            "value"))  # fmt: skip


@dataclass(frozen=True)
class Tag:
    """A tag that is more than a plain type."""

    name: str
    """`!new:torch.nn.Linear`; of YAML's own namespace `!!python/object:…`."""
    line: int
    """From 1."""
    value: Any
    """Of the node that has it."""


@dataclass(frozen=True)
class Reading:
    """One document."""

    value: Any
    """Dictionaries, lists and text; of a key that is there twice, the last, as readers take it."""
    tags: tuple[Tag, ...]
    twice: tuple[str, ...]
    """Keys that are there twice in one mapping; readers differ about them."""


def read(data: bytes) -> Reading:
    """The one document. Raises ValueError where it is no YAML, too large, too deep, several documents, or endless."""
    import yaml

    if len(data) > MAX_BYTES:
        raise ValueError("it is larger than any configuration")
    text = data.decode("utf-8-sig")
    if any(sign in text for sign in "\x85\u2028\u2029"):
        raise ValueError("it holds line ends that readers of YAML take in different ways")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ValueError(f"it is no YAML ({problem})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return _Reader().read(root)


class _Reader:
    def __init__(self) -> None:
        self.tags: list[Tag] = []
        self.twice: list[str] = []
        self._done: dict[int, Any] = {}
        self._open: set[int] = set()
        self._count = 0

    def read(self, root: Any) -> Reading:
        value = None if root is None else self._value(root, 0)
        return Reading(value, tuple(self.tags), tuple(self.twice))

    def _value(self, node: Any, depth: int) -> Any:
        key = id(node)
        if key in self._done:
            return self._done[key]
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            raise ValueError("it is nested too deeply, or holds too much")
        if key in self._open:
            raise ValueError("a part of it holds itself")
        self._open.add(key)
        value = self._plain(node, depth)
        self._open.discard(key)
        self._done[key] = value
        if node.tag not in _USUAL:
            name = node.tag.replace(_PLAIN, "!!", 1) if node.tag.startswith(_PLAIN) else node.tag
            self.tags.append(Tag(name, node.start_mark.line + 1, value))
        return value

    def _plain(self, node: Any, depth: int) -> Any:
        if node.id == "scalar":
            return str(node.value)
        if node.id == "sequence":
            return [self._value(item, depth + 1) for item in node.value]
        out: dict[str, Any] = {}
        for name, item in node.value:
            key = self._value(name, depth + 1)
            text = key if isinstance(key, str) else "?"  # a key that is no text names nothing that anybody looks up
            if text in out and text != "<<":
                self.twice.append(text[:200])
            out[text] = self._value(item, depth + 1)
        return out
