"""TorchScript's code is read token by token: what PyTorch writes is no harm, and nothing hides in odd spellings."""

from __future__ import annotations

import pytest

from nbguard.formats.view import BytesView
from nbguard.report.model import Verdict
from nbguard.scanners import torchscript
from nbguard.scanners.base import Budget, Job, Limits
from nbguard.scanners.facts import Facts


def judged(source: str) -> Facts:
    facts = Facts()
    job = Job("m.pt", BytesView(b""), Limits(), Budget(0, 0))
    torchscript.judge(job, "m/code/m.py", source.encode(), facts)
    return facts


@pytest.mark.parametrize(
    "line",
    [
        "_0 = torch.relu(x)",
        "_0 = ops.prim.data(x)",
        "_0 = ops.quantized.linear(x, self._packed_params, 1., 0)",
        '_0 = getattr(self, "0")',
        '_0 = torch.eq(k, "torch.save(x)")',
        '_0 = torch.format("it\'s \\"{}\\"", x)',
        "_0 = (self).save(x)",
        "_0 = (self.writer).save(x)",
        "packed : __torch__.torch.classes.quantized.LinearPackedParamsBase",
        "# torch.save(x) is only said here",
    ],
)
def test_what_pytorch_writes_is_nothing_to_tell(line: str) -> None:
    facts = judged(f"def f(self, x: Tensor) -> Tensor:\n  {line}\n  return x\n")
    assert (facts.verdict, facts.findings) == (Verdict.SAFE, [])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('_0 = torch.from_file("a", True, 1)', "torchscript.files"),
        ('_0 = ops.image.write_file("a", x)', "torchscript.files"),
        ('_0 = __torch__.torch.classes.torchvision.Video("a", "b")', "torchscript.files"),
        ("_0 = 'torch'", "torchscript.hidden"),
        ('_0 = """torch.save"""\n"""\n"""', "torchscript.hidden"),
        ('_0 = "no end', "torchscript.hidden"),
        ("t = ops.aten.relu", "torchscript.hidden"),
    ],
)
def test_what_reaches_files_or_hides_is_danger(line: str, rule: str) -> None:
    facts = judged(f"  {line}\n")
    assert facts.verdict is Verdict.DANGER
    assert rule in {f.rule for f in facts.findings}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("_0 = ops.c10d.allreduce_(x)", "torchscript.network"),
        ('_0 = rpc_sync("other", f, (x,))', "torchscript.network"),
        ("_0 = ops.mine.op(x)", "torchscript.operator"),
        ("_0 = __torch__.torch.classes.mine.Thing(x)", "torchscript.class"),
    ],
)
def test_libraries_that_are_not_known_are_for_a_person_to_judge(line: str, rule: str) -> None:
    facts = judged(f"  {line}\n")
    assert facts.verdict is Verdict.REVIEW
    assert [f.rule for f in facts.findings] == [rule]


@pytest.mark.parametrize("piece", ['"', "'\\", '"""\\', "torch.", ".", "getattr(", "a.", "\\", "1."])
def test_a_long_file_of_one_piece_is_read_once(piece: str) -> None:
    assert judged(piece * 100_000) is not None
