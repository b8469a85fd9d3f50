"""Python code that comes with a model: what acts when it is imported or built is danger, the rest is for reading."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_code_more import MORE
from planted_code_tricks import TRICKS
from sample_set import MARKER, Sample, samples

import nbguard
from nbguard.formats.view import BytesView
from nbguard.report.model import Severity, Verdict
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.facts import Facts
from nbguard.scanners.registry import examine


def look(source: str | bytes, path: str = "modeling_x.py") -> Facts:
    data = source.encode() if isinstance(source, str) else source
    return examine(Job(path, BytesView(data), Limits(), Budget(1 << 20, 100)))


HONEST = """
import os
import re
import sys
import torch
from .configuration_x import XConfig
from ..shared import helper

PATTERN = re.compile("x")
CACHE = os.path.join(os.environ.get("HOME", ""), "cache")

class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.eval()
        self.requests = []
        self.requests.append(getattr(torch, config.act))

    @torch.no_grad()
    def forward(self, x):
        return globals().get("x", x)

model_class = torch.compile(Model)
"""


def test_honest_code_is_reviewed_with_its_digest() -> None:
    facts = look(HONEST)
    assert facts.verdict is Verdict.REVIEW
    assert [f.rule for f in facts.findings] == ["code.remote"]
    assert facts.code[0].sha256 == hashlib.sha256(HONEST.encode()).hexdigest()
    assert [r for r in facts.references if r.startswith("py:")] == ["py:configuration_x.py", "py:../shared.py"]


def test_relative_imports_are_followed_from_the_files_folder() -> None:
    facts = look("from . import a\nfrom .sub.b import c\nfrom ..up import d\n", "pkg/inner/m.py")
    assert [r for r in facts.references if r.startswith("py:")] == [
        "py:pkg/inner/a.py",
        "py:pkg/inner/sub/b.py",
        "py:pkg/up.py",
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.system('x')",
        "import os as o\no.system('x')",
        "from os import system as f\nf('x')",
        "from os import *\nsystem('x')",
        "import os\ns = os.system\ns('x')",
        "import os\ngetattr(os, 'system')('x')",
        "__import__('os').system('x')",
        "import importlib\nimportlib.import_module('subprocess').run(['x'])",
        "import sys\nsys.modules['os'].system('x')",
        "import transformers\ntransformers.utils.os.system('x')",
        "import os\nvars(os)['system']('x')",
        "import os\nos.__dict__['system']('x')",
        "globals()['__builtins__']['exec']('x')",
        "import builtins\nbuiltins.exec('x')",
        "exec('x')",
        "eval('x')",
        "import subprocess\ndef go():\n    subprocess.run(['x'])\ngo()",
        "import os\ndef a(): b()\ndef b(): os.system('x')\na()",
        "import os\nclass A:\n    os.system('x')",
        "import os\ndef f(x=os.system('x')): pass",
        "import os\n@os.system\ndef f(): pass",
        "import os\n(lambda: os.system('x'))()",
        "import os\nlist(map(os.system, ['x']))",
        "import os, functools\nfunctools.partial(os.system, 'x')()",
        "import threading, os\nthreading.Thread(target=os.system, args=('x',)).start()",
        "import atexit, os\natexit.register(os.system, 'x')",
        "import os\nwith os.popen('x') as f: pass",
        "import os\ntry:\n    os.system('x')\nexcept Exception: pass",
        "import os\nif True:\n    os.system('x')",
        "import os\nif __name__ == '__main__': pass\nelse: os.system('x')",
        "import os\n[os.system('x') for _ in [1]]",
        "from urllib.request import urlopen\nurlopen('http://localhost')",
        "import requests\nrequests.get('http://localhost')",
        "import socket\nsocket.socket()",
        "import ctypes\nctypes.CDLL('x')",
        "import pickle\npickle.loads(b'')",
        "import marshal\nmarshal.loads(b'')",
        "import os\nclass A:\n    def __init__(self): os.system('x')",
        "import os\nclass A:\n    def __init__(self): self.go()\n    def go(self): os.system('x')",
        "import os\nclass A:\n    def __init_subclass__(cls): os.system('x')",
        b"# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0- os\nos.system('x')",
    ],
)
def test_code_that_acts_is_dangerous(source: str | bytes) -> None:
    facts = look(source)
    assert facts.verdict is Verdict.DANGER
    finding = next(f for f in facts.findings if f.rule in ("code.acts-at-import", "code.acts-at-load"))
    assert finding.location.startswith("line ")
    assert finding.evidence


@pytest.mark.parametrize(
    "source",
    [
        "import os\nclass A:\n    def forward(self): os.system('x')",
        "import os\nif __name__ == '__main__':\n    os.system('x')",
        "import pickle\ndef load_vocab(path):\n    return pickle.load(open(path, 'rb'))",
    ],
)
def test_code_that_could_act_is_for_reading(source: str) -> None:
    facts = look(source)
    assert facts.verdict is Verdict.REVIEW
    assert "code.can-act" in {f.rule for f in facts.findings}


@pytest.mark.parametrize("source", ["def (", "x = 'a\0b'", "(" * 3000 + ")" * 3000, b"# coding: nonsense\nx = 1"])
def test_code_that_cannot_be_read_is_unverifiable(source: str | bytes) -> None:
    assert look(source).verdict is Verdict.UNVERIFIABLE


def test_a_module_of_words_does_nothing() -> None:
    assert look('"""Only text."""\n').verdict is Verdict.SAFE
    assert look("").verdict <= Verdict.UNVERIFIABLE


def test_words_are_no_evidence() -> None:
    facts = look('x = "os.system(1); eval(2); subprocess"  # exec(3)\n')
    assert {f.rule for f in facts.findings} == {"code.remote"}


def test_code_that_begins_like_a_pickle_is_no_pickle() -> None:
    """A `c` at the start is the opcode that names a global: `class A:` is a module's name to the pickle machine."""
    facts = look("class A:\n    pass\n")
    assert (facts.format, facts.verdict) == ("python", Verdict.REVIEW)


def test_the_way_from_the_entry_to_the_act_is_told() -> None:
    facts = look("import os\ndef a(): b()\ndef b():\n    os.system('x')\na()\n")
    finding = next(f for f in facts.findings if f.rule == "code.acts-at-import")
    assert finding.location == "line 4"
    assert finding.evidence.splitlines() == ["os.system('x')", "a() line 5 → b() line 2 → os.system"]


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("x = 1  # \u202e tnemmoc", "order"),
        ("x\u200b = 1", None),
        ("ｏｓ = 1", "only look like it"),
        ("sуstem = 1", "several scripts"),
        (b"# coding: utf-7\nx = 1", "encoding"),
    ],
)
def test_source_that_reads_as_something_else(source: str | bytes, word: str | None) -> None:
    facts = look(source)
    if word is None:  # Python itself refuses it
        assert facts.verdict is Verdict.UNVERIFIABLE
        return
    (finding,) = [f for f in facts.findings if f.rule == "code.spelling"]
    assert word in finding.message
    assert finding.severity is Severity.HIGH


def test_code_without_end_is_unverifiable() -> None:
    tangled = "\n".join(f"def f{n}(a, b=1):\n    return [f{n + 1}(x, y) for x in a for y in a]" for n in range(4000))
    facts = look(
        f"{tangled}\n" + "x = [" + "1," * 200_000 + "]\n" * 1 + "\n".join(f"y{n} = [a for a in x]" for n in range(99))
    )
    assert facts.verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize(
    ("files", "way"),
    [
        (
            {
                "modeling_x.py": "from .helper import setup\nsetup()\n",
                "helper.py": "import os\ndef setup():\n    os.system('x')\n",
            },
            "os.system('x')\nsetup() in helper.py, from line 2 → os.system (helper.py line 3)",
        ),
        (
            {
                "modeling_x.py": "from . import a\nclass M:\n    def __init__(self): a.go()\n",
                "a.py": "from .sub.b import run as r\ndef go(): r()\n",
                "sub/b.py": "import subprocess\ndef run():\n    subprocess.run(['x'])\n",
            },
            "subprocess.run(['x'])\nM.__init__() line 2 → go() in a.py, from line 3 → run() in sub/b.py, from line 2"
            " → subprocess.run (sub/b.py line 3)",
        ),
    ],
)
def test_an_act_in_one_file_that_another_sets_off(tmp_path: Path, files: dict[str, str], way: str) -> None:
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.M"}}')
    report = nbguard.scan(str(tmp_path))
    assert report.verdict is Verdict.DANGER
    finding = next(f for f in report.findings if f.rule.startswith("code.acts"))
    assert (finding.file, finding.evidence) == ("modeling_x.py", way)


def test_a_helper_that_nobody_calls_is_for_reading(tmp_path: Path) -> None:
    (tmp_path / "modeling_x.py").write_text("from .helper import setup\nclass M: pass\n")
    (tmp_path / "helper.py").write_text("import os\ndef setup():\n    os.system('x')\n")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.M"}}')
    assert nbguard.scan(str(tmp_path)).verdict is Verdict.REVIEW


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "modeling_x.py").write_text("from .helper import setup\nclass M: pass\n")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.M"}}')
    report = nbguard.scan(str(tmp_path))
    assert report.verdict is Verdict.REVIEW
    assert "helper.py" in next(f for f in report.findings if f.rule == "code.missing").message


def test_the_way_through_several_files_is_told_where_the_act_stands(tmp_path: Path) -> None:
    (tmp_path / "modeling_x.py").write_text("from .h import go\nclass M:\n    def forward(self): go()\n")
    (tmp_path / "h.py").write_text("import os\ndef go(): os.system('x')\n")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_x.M"}}')
    finding = next(f for f in nbguard.scan(str(tmp_path)).findings if f.rule == "code.can-act")
    assert finding.file == "h.py"
    assert "M.forward() line 3 → go() in h.py, from line 3 → os.system (h.py line 2)" in finding.evidence


@pytest.mark.parametrize(
    "source",
    [
        "x = a" + ".b" * 100_000,
        "x = " + "-" * 100_000 + "1",
        "x = '{:999999999}'.format(1)\ny = '%999999999d' % 1\nz = 'a'.zfill(10**10)\n",
        "x = 'a' * 9999\n" + "x = x + x\n" * 2_000,
        "x = {1: 1}\n" + "x = {1: x, 2: x}\n" * 2_000 + "f(x)\n",
        "x = [1 " + " ".join(f"for a{n} in 'abcdefgh'" for n in range(60)) + "]",
        "".join(f"def f{n}(a): f{n + 1}(a + 1); f{n + 1}([a]); f{n + 1}(a)\n" for n in range(200)) + "f0(1)\n",
        "class B:\n" + "".join(f" def __m{n}__(self): self + self; [self]\n" for n in range(500)) + "B() + B()\n",
        "class A0: pass\n" + "".join(f"class A{n}(A{n - 1}, A{n - 1}): pass\n" for n in range(1, 200)) + "A199().x\n",
        "x = f'" + "{a}" * 60_000 + "'",
    ],
    ids=["dots", "signs", "widths", "doubled", "tables", "loops", "calls", "operators", "diamonds", "braces"],
)
@pytest.mark.timeout(20)
def test_tangled_code_ends_soon(source: str) -> None:
    assert look(source).verdict in (Verdict.REVIEW, Verdict.UNVERIFIABLE)


IDIOMS = """
import importlib, logging, os, shutil, sys
from typing import TYPE_CHECKING
import torch
logger = logging.getLogger(__name__)
if importlib.util.find_spec("flash_attn") is not None:
    flash = importlib.import_module("flash_attn")
try:
    import einops
except ImportError:
    einops = None
sys.modules[__name__] = sys.modules.get(__name__)
ACT = {"relu": torch.relu, "gelu": getattr(torch, "gelu")}
CLASSES = [globals()[n] for n in ("Tokenizer",) if n in globals()]

class Tokenizer:
    def __init__(self, vocab_file, config=None):
        with open(vocab_file, encoding="utf-8") as f:
            self.vocab = dict(line.split() for line in f)
        self.act = ACT[config.act] if config else getattr(torch.nn.functional, "relu")
        self.eval()
        for name in ("a", "b"):
            setattr(self, name, getattr(config, name, None))
        self.cache = os.path.join(os.environ.get("HOME", ""), ".cache")

    def forward(self, x):
        return getattr(self, self.name)(x).to(x.device)
"""


def test_ordinary_idioms_give_no_finding() -> None:
    assert {f.rule for f in look(IDIOMS).findings} == {"code.remote"}


def test_a_vocabulary_is_written_with_a_quiet_word() -> None:
    saves = """
import os, shutil
class T:
    def save_vocabulary(self, folder, prefix=None):
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "vocab.txt")
        with open(path, "w", encoding="utf-8") as f:
            f.write("x")
        return (path,)
"""
    assert max(f.severity for f in look(saves).findings if f.rule != "code.remote") <= Severity.LOW


@pytest.mark.parametrize("name", ["vocab.txt", "merges.dat", "modeling_x.pyx", "README", "weights.cfg"])
def test_code_under_another_name_is_found(name: str) -> None:
    facts = look("import os\nos.system('x')\n", name)
    assert "text.code" in {f.rule for f in facts.findings}
    assert facts.verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    "text", ["import\nexec\neval\ncompile\n", "import numpy as np\nprint(np.zeros(3))\n", "import torch and exec(it)\n"]
)
def test_words_of_a_vocabulary_are_no_code(text: str) -> None:
    assert look(text, "vocab.txt").verdict is Verdict.SAFE


FIRING = [s for s in samples() if s.format == "python" and s.loads is not None]


@pytest.mark.parametrize("sample", FIRING, ids=lambda sample: sample.name)
def test_python_itself_runs_what_the_samples_hide(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "sample"
    folder.mkdir()
    assert sample.loads is not None
    sample.loads(sample.build(folder))
    assert (tmp_path / MARKER).exists()


PARTS = [HONEST, IDIOMS, *list(MORE.values())[::7], *list(TRICKS.values())[::7]]


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_code_that_was_cut_and_mixed_is_never_safe_and_never_an_error(parts: list[str], data: st.DataObject) -> None:
    text = "\n".join(parts)
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, min(len(text), at + 40)))
    changed = text[:at] + data.draw(st.text(max_size=3)) + text[to:]
    facts = look(changed.encode("utf-8", "replace"))
    assert facts.verdict is not Verdict.SAFE
    assert not [f for f in facts.findings if f.rule.endswith(".malformed")]
