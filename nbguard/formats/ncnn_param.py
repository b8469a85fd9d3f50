"""ncnn's models in text (`.param`): layers with the blobs that go in and out, counted as their reader counts.

    model = read(view)
    model.layers, model.problems

`Net::load_param` (`src/net.cpp` of ncnn 20250503) makes room for as many layers and blobs as the second line says and
then fills them as the lines come; in older versions a line too many writes beyond them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from nbguard.formats.view import View

MAGIC = 7767517
MAX_SIZE = 64 << 20
MAX_LAYERS = 1_000_000
_BEGINS = re.compile(rb"\s{0,16}7767517\s+\d{1,9}\s+\d{1,9}\s")
_COUNT = re.compile("[0-9]{1,9}")
_NUMBER = re.compile("-?[0-9]{1,6}")
_SETTING = re.compile(r"-?[0-9]{1,6}=\S+|[@$#\w.]+=\S*", re.ASCII)
_ARRAYS = -23300
"""Numbers of settings from here down hold arrays, whose first value is their length (`src/paramdict.cpp`)."""


class NcnnError(ValueError):
    """No model of ncnn that can be read to its end. One plain sentence."""


@dataclass
class NcnnModel:
    """What a `.param` says."""

    layers: Counter[str] = field(default_factory=Counter)
    by_pnnx: bool = False
    """Written by pnnx for itself: its operators carry names of PyTorch, and its numbers lie in a zip."""
    problems: list[str] = field(default_factory=list)

    def doubt(self, sentence: str) -> None:
        if sentence not in self.problems and len(self.problems) < 30:
            self.problems.append(sentence)


def looks_like(head: bytes) -> bool:
    """Whether it begins with ncnn's number and two counts, in text."""
    return _BEGINS.match(head) is not None


def data_file(name: str, head: bytes) -> str | None:
    """The file that its numbers lie in by custom: of the same name, with `.bin`."""
    return name[:-6] + ".bin" if name.lower().endswith(".param") and looks_like(head) else None


def read(view: View) -> NcnnModel:
    """Read the whole text. Raises NcnnError."""
    if view.size > MAX_SIZE:
        raise NcnnError("The text is larger than any model's.")
    lines = view.read(0, view.size).split(b"\n")
    rows = [[w.decode("latin-1") for w in found] for line in lines if (found := line.split())]
    if len(rows) < 2 or rows[0] != [str(MAGIC)] or len(rows[1]) != 2 or not all(_COUNT.fullmatch(w) for w in rows[1]):
        raise NcnnError("It does not begin as a model of ncnn does.")
    n_layers, n_blobs = (int(w) for w in rows[1])
    if not 0 < n_layers <= MAX_LAYERS or not 0 < n_blobs <= MAX_LAYERS:
        raise NcnnError("It says that it has more layers than any model.")
    model = NcnnModel(by_pnnx=any(row[0].startswith("pnnx.") for row in rows[2:]))
    if len(rows) - 2 != n_layers:
        raise NcnnError(f"It says that it has {n_layers:,} layers, and it has {len(rows) - 2:,}.")
    made: set[str] = set()
    for words in rows[2:]:
        _layer(model, words, made)
    if len(made) > n_blobs:
        model.doubt(f"It makes room for {n_blobs:,} blobs and fills {len(made):,}.")
    return model


def _layer(model: NcnnModel, words: list[str], made: set[str]) -> None:
    if len(words) < 4 or not (_COUNT.fullmatch(words[2]) and _COUNT.fullmatch(words[3])):
        raise NcnnError("A line of it describes no layer.")
    model.layers[words[0][:200]] += 1
    n_in, n_out = int(words[2]), int(words[3])
    if len(words) < 4 + n_in + n_out:
        raise NcnnError("A layer says that it has more blobs than it names.")
    if max(map(len, words[1 : 4 + n_in + n_out])) > 255:
        model.doubt("A name in it is longer than ncnn makes room for.")
    taken, given = words[4 : 4 + n_in], words[4 + n_in : 4 + n_in + n_out]
    for name in taken:
        if name not in made:
            model.doubt("A layer takes a blob that no layer before it makes.")
            made.add(name)  # the reader makes room for it all the same
    for name in given:
        if name in made:
            model.doubt("Two layers make the same blob.")
        made.add(name)
    for word in words[4 + n_in + n_out :]:
        _setting(model, word)


def _setting(model: NcnnModel, word: str) -> None:
    if not _SETTING.fullmatch(word):
        model.doubt("A setting of a layer has no form that is known.")
        return
    key, _, value = word.partition("=")
    if model.by_pnnx or not _NUMBER.fullmatch(key):
        if not model.by_pnnx:
            model.doubt("A setting of a layer goes by a name, which ncnn does not read.")
        return
    number = int(key)
    if number <= _ARRAYS:
        length, _, rest = value.partition(",")
        if not _COUNT.fullmatch(length) or int(length) != len([v for v in rest.split(",") if v]):
            model.doubt("A list in a layer's settings is not as long as it says.")
        number = _ARRAYS - number
    if not 0 <= number < 32:
        model.doubt("A setting of a layer has a number that ncnn makes no room for.")


__all__ = ["MAGIC", "NcnnError", "NcnnModel", "data_file", "looks_like", "read"]
