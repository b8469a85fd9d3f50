"""Models of frameworks that are best run in a process of their own: they set flags for the whole process, or cannot be
imported beside one another.

    files = written(SCRIPT, FLAGS_enable_pir_api="0")
    files["model.pdmodel"]          # the bytes of what the script left in its folder
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

STANDINS = Path(__file__).parent / "standins"


@cache
def written(script: str, **environment: str) -> dict[str, bytes]:
    """Run `script` in an empty folder and take what lies there then, by path. AssertionError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        root = Path(folder)
        return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def placed(files: Callable[[], dict[str, bytes]], target: str = "") -> Callable[[Path], Path]:
    """A `build` for several files; what is scanned is `target` among them, or the folder."""

    def build(folder: Path) -> Path:
        for name, data in files().items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return folder / target if target else folder

    return build


def below(files: dict[str, bytes], folder: str) -> dict[str, bytes]:
    """Those of `files` that lie below `folder`, without it."""
    return {name.removeprefix(f"{folder}/"): data for name, data in files.items() if name.startswith(f"{folder}/")}


COREML = """
import sys
for name in ("executorch", "tensorflow", "torch", "sklearn", "xgboost", "libsvm"):
    sys.modules[name] = None            # coremltools takes them along where they are there
import logging; logging.disable(50)
import coremltools as ct, numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.proto import Model_pb2

def program():
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))])
    def made(x):
        x = mb.matmul(x=x, y=np.arange(4000, dtype=np.float32).reshape(4, 1000))
        return mb.softmax(x=mb.relu(x=x), axis=-1)
    return made

ct.convert(program(), convert_to="mlprogram", skip_model_load=True).save("honest.mlpackage")
ct.convert(program(), convert_to="neuralnetwork", skip_model_load=True,
           minimum_deployment_target=ct.target.iOS13).save("network.mlmodel")

def changed(source, place, change):
    model = Model_pb2.Model.FromString(open(source, "rb").read())
    change(model)
    open(place, "wb").write(model.SerializeToString())

MODEL = "honest.mlpackage/Data/com.apple.CoreML/model.mlmodel"

def operations(model):
    (function,) = model.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return block.operations

def blob(model):
    for operation in operations(model):
        for value in operation.attributes.values():
            if value.HasField("blobFileValue"):
                return value.blobFileValue

def outside(model):
    blob(model).fileName = "@model_path/../../../../secrets"

def absolute(model):
    blob(model).fileName = "/etc/passwd"

def beyond(model):
    blob(model).offset = 1 << 40

def foreign(model):
    operations(model)[-1].type = "mine.run"

def custom_layer(model):
    layer = model.neuralNetwork.layers.add(name="own")
    layer.custom.className = "RunsAnything"

def in_loop(model):
    layer = model.neuralNetwork.layers.add(name="own")
    layer.loop.bodyNetwork.layers.add(name="inner").custom.className = "RunsAnything"

def custom_model(model):
    model.customModel.className = "RunsAnything"

def linked(model):
    model.linkedModel.linkedModelFile.linkedModelFileName.defaultValue = "other.mlmodelc"

def linked_outside(model):
    linked(model)
    model.linkedModel.linkedModelFile.linkedModelSearchPath.defaultValue = "/tmp:../.."

def pipeline(model):
    inner = Model_pb2.Model()
    inner.CopyFrom(model)
    custom_model(inner)
    model.pipeline.models.append(inner)

def tagger(model):
    model.wordTagger.revision = 1

for change in (outside, absolute, beyond, foreign):
    changed(MODEL, change.__name__ + ".mlmodel", change)
for change in (custom_layer, in_loop, custom_model, linked, linked_outside, pipeline, tagger):
    changed("network.mlmodel", change.__name__ + ".mlmodel", change)

from google.protobuf.descriptor import FieldDescriptor as F
KINDS = {F.TYPE_STRING: "b", F.TYPE_BYTES: "b", F.TYPE_DOUBLE: "d", F.TYPE_FLOAT: "f"}
seen, left = {}, [Model_pb2.Model.DESCRIPTOR]
while left:
    message = left.pop()
    name = message.full_name.removeprefix("CoreML.Specification.")
    if name in seen:
        continue
    seen[name] = {}
    for field in message.fields:
        inner = field.message_type
        kind = inner.full_name.removeprefix("CoreML.Specification.") if inner else KINDS.get(field.type, "v")
        seen[name][field.number] = (kind, bool(field.is_repeated))
        left += [inner] if inner else []
open("schema", "w").write(repr(seen))
"""

PADDLE = """
import os, pickle
import paddle
from paddle.static import InputSpec

net = paddle.nn.Sequential(paddle.nn.Linear(4, 3), paddle.nn.ReLU())
net.eval()
paddle.save(net.state_dict(), "model.pdparams")
adam = paddle.optimizer.Adam(parameters=net.parameters())
net(paddle.rand([1, 4])).sum().backward()
adam.step()
paddle.save(adam.state_dict(), "model.pdopt")
paddle.save({"epoch": 3, "weights": net.state_dict(), "tensor": paddle.ones([2])}, "checkpoint.pdparams")
paddle.jit.save(net, "model", input_spec=[InputSpec([1, 4], "float32")])
"""

EXECUTORCH = """
import copy
import torch
from executorch.exir import ExecutorchBackendConfig, to_edge
from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary
from executorch.exir.schema import BackendDelegate, BackendDelegateDataReference, BackendDelegateInlineData
from executorch.exir.schema import DataLocation, Operator, Tensor

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
    def forward(self, x):
        return torch.cat([torch.relu(self.linear(x)), x[:, :2]], dim=1)

exported = torch.export.export(Model().eval(), (torch.ones(1, 4),))
honest = to_edge(exported).to_executorch().buffer
open("honest.pte", "wb").write(honest)
apart = to_edge(exported).to_executorch(ExecutorchBackendConfig(external_constants=True))
open("apart.pte", "wb").write(apart.buffer)
for data in apart._tensor_data.values():
    open("apart.ptd", "wb").write(bytes(data))

def changed(name, change):
    file = deserialize_pte_binary(honest)
    change(file.program, file.program.execution_plan[0])
    open(name + ".pte", "wb").write(bytes(serialize_pte_binary(file)))

def instruction(program, plan):
    plan.chains[0].instructions[0].instr_args.op_index = 4000

def value(program, plan):
    plan.chains[0].instructions[0].instr_args.args[0] = 1 << 20

def operator(program, plan):
    plan.operators[0] = Operator(name="mine::run", overload="out")

def tensor(program, plan):
    next(v.val for v in plan.values if isinstance(v.val, Tensor) and v.val.allocation_info).sizes[0] = 1 << 20

def memory(program, plan):
    place = next(v.val for v in plan.values if isinstance(v.val, Tensor) and v.val.allocation_info)
    place.allocation_info.memory_offset_low = 1 << 30

def constant(program, plan):
    next(v.val for v in plan.values if isinstance(v.val, Tensor) and v.val.data_buffer_idx).sizes[0] = 1 << 20

def delegate(program, plan):
    program.backend_delegate_data.append(BackendDelegateInlineData(data=b"compiled"))
    plan.delegates.append(BackendDelegate("XnnpackBackend", BackendDelegateDataReference(DataLocation.INLINE, 0), []))

for change in (instruction, value, operator, tensor, memory, constant, delegate):
    changed(change.__name__, change)
"""


def coreml() -> dict[str, bytes]:
    """Packages and models; `schema` is the whole schema as coremltools knows it."""
    return written(COREML)


def paddle() -> dict[str, bytes]:
    """Of version 3."""
    return written(PADDLE, FLAGS_enable_pir_api="1")


def paddle_before() -> dict[str, bytes]:
    """As version 2 writes them."""
    return written(PADDLE, FLAGS_enable_pir_api="0")


def executorch() -> dict[str, bytes]:
    return written(EXECUTORCH, PYTHONPATH=str(STANDINS / "executorch_needs"))
