"""torch.export.load: honest programs load and run; what torch would make code of is told before, and never runs."""

from __future__ import annotations

import io
import json
import logging
import pathlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nbguard.artifact.model import LoadRequest
from nbguard.artifact.sources import open_path
from nbguard.errors import LoadBlocked
from nbguard.hooks import walk

Members = dict[str, bytes]
Change = Callable[[Members, str], None]
GRAPH = "models/model.json"


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("scale", torch.arange(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x)) + self.scale * x.shape[0]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export") / "honest.pt2"
    sizes = {"x": {0: torch.export.Dim("batch", min=2, max=64)}}
    torch.export.save(torch.export.export(Net(), (torch.ones(5, 4),), dynamic_shapes=sizes), place)
    return place


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """torch logs the traces of what it swallows."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def rewritten(honest: Path, place: Path, change: Change, marker: Path) -> Path:
    """The archive with other members, as torch writes archives."""
    with zipfile.ZipFile(honest) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members, f"__import__('pathlib').Path({str(marker)!r}).touch()")
    writer = torch._C.PyTorchFileWriter(str(place))
    for name, data in members.items():
        if not name.startswith(".data") and name != "byteorder":
            writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    return place


def graph(change: Callable[[Any, str], None]) -> Change:
    def changed(members: Members, code: str) -> None:
        program = json.loads(members[GRAPH])
        change(program, code)
        members[GRAPH] = json.dumps(program).encode()

    return changed


@graph
def in_a_size(program: Any, code: str) -> None:
    values = program["graph_module"]["graph"]["sym_int_values"]
    next(iter(values.values()))["as_expr"]["expr_str"] = code


@graph
def in_a_condition(program: Any, code: str) -> None:
    program["guards_code"] = [f"{code} or True"]


def in_a_name(members: Members, code: str) -> None:
    members[GRAPH] = members[GRAPH].replace(b'"x"', json.dumps(f"x={code}").encode())


def in_the_example_inputs(members: Members, code: str) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return pathlib.Path.touch, (pathlib.Path(code.split("'")[3]),)

    buffer = io.BytesIO()
    torch.save((Payload(),), buffer)
    members["data/sample_inputs/model.pt"] = buffer.getvalue()


def in_a_graph_of_another_name(members: Members, code: str) -> None:
    in_a_name(members, code)
    members["models/model.text"] = members.pop(GRAPH)


HOSTILE = (in_a_size, in_a_condition, in_a_name, in_a_graph_of_another_name, in_the_example_inputs)
NAMES = ["size", "condition", "name", "another name", "example inputs"]


@pytest.mark.usefixtures("guarded")
class TestHonest:
    def test_a_program_loads_and_runs(self, person: Any, honest: Path) -> None:
        program = torch.export.load(honest)
        assert program.module()(torch.ones(7, 4)).shape == (7, 3)
        (report,) = person.reports
        assert report.verdict.word == "safe"
        assert report.files[0].format == "torch-export"
        assert report.contract.layout

    def test_so_does_a_stream_and_the_archive_as_a_whole(self, person: Any, honest: Path) -> None:
        program = torch.export.load(io.BytesIO(honest.read_bytes()))
        assert set(program.state_dict) == {"layer.weight", "layer.bias", "scale"}
        contents = torch.export.pt2_archive._package.load_pt2(str(honest))
        assert set(contents.exported_programs) == {"model"}
        assert person.verdicts == ["safe", "safe"]


@pytest.mark.parametrize("change", HOSTILE, ids=NAMES)
class TestHostile:
    def test_the_attack_is_real(self, honest: Path, tmp_path: Path, marker: Path, change: Change) -> None:
        place = rewritten(honest, tmp_path / "bad.pt2", change, marker)
        try:
            program = torch.export.load(place)
            if change is in_a_condition:
                program.module()(torch.ones(5, 4))
        except RuntimeError:
            assert change is in_a_size  # it fails afterwards
        assert marker.exists()

    @pytest.mark.usefixtures("guarded")
    def test_and_is_stopped(self, person: Any, honest: Path, tmp_path: Path, marker: Path, change: Change) -> None:
        place = rewritten(honest, tmp_path / "bad.pt2", change, marker)
        person.choice = "refuse"
        for source in (place, io.BytesIO(place.read_bytes())):
            with pytest.raises(LoadBlocked):
                torch.export.load(source)
        assert person.verdicts == ["danger", "danger"]
        assert not marker.exists()


def with_a_pickled_weight(members: Members, code: str) -> None:
    """As torch writes weights that are more than plain tensors."""
    place = "data/weights/model_weights_config.json"
    listed = json.loads(members[place])
    listed["config"]["scale"]["use_pickle"] = True
    buffer = io.BytesIO()
    torch.save(torch.full((3,), 7.0), buffer)
    members["data/weights/" + listed["config"]["scale"]["path_name"]] = buffer.getvalue()
    members[place] = json.dumps(listed).encode()


@pytest.mark.usefixtures("guarded")
def test_a_weight_that_is_a_pickle_is_read_as_one(person: Any, honest: Path, tmp_path: Path, marker: Path) -> None:
    place = rewritten(honest, tmp_path / "pickled.pt2", with_a_pickled_weight, marker)
    assert torch.export.load(place).state_dict["scale"].tolist() == [7.0, 7.0, 7.0]
    assert len(person.reports) == 1
    assert len(person.reports[0].contract.programs) == 2


@pytest.mark.usefixtures("guarded", "fooled")
@pytest.mark.parametrize("change", HOSTILE, ids=NAMES)
def test_a_scanner_that_was_fooled_lets_nothing_in_it_run(
    person: Any, honest: Path, tmp_path: Path, marker: Path, change: Change
) -> None:
    place = rewritten(honest, tmp_path / "bad.pt2", change, marker)
    for source in (place, io.BytesIO(place.read_bytes())):
        with pytest.raises(LoadBlocked):
            torch.export.load(source)
    assert not marker.exists()
    assert set(person.verdicts) <= {"safe", "review"}


@pytest.mark.usefixtures("guarded", "fooled")
@pytest.mark.parametrize(
    "code",
    [
        "(h := __import__('nbguard.hooks.installed', fromlist=['x']).Installed(), "
        "h.on_undo(lambda p=__import__('pathlib'): p.Path({0!r}).touch()), h.undo())",
        "(h := __import__('nbguard.hooks.installed', fromlist=['x']).Installed(), "
        "h.on_undo(__import__('functools').partial(__import__('os').system, 'touch {0}')), h.undo())",
        "__import__('threading').Thread(target=__import__('os').system, args=('touch {0}',)).start()",
        "exec(compile('open({0!r}, chr(119))', __import__('os').__file__, 'exec'))",
    ],
    ids=["through nbguard", "through nbguard in C", "in a thread", "under another name"],
)
def test_nor_by_a_detour(person: Any, honest: Path, tmp_path: Path, marker: Path, code: str) -> None:
    def detour(members: Members, _: str) -> None:
        in_a_name(members, code.format(str(marker)))

    with pytest.raises(LoadBlocked):
        torch.export.load(rewritten(honest, tmp_path / "bad.pt2", detour, marker))
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(5)
    assert not marker.exists()


@pytest.mark.usefixtures("guarded", "fooled")
def test_nor_a_module_that_is_imported(
    person: Any, honest: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_about.py").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()")
    monkeypatch.syspath_prepend(tmp_path)

    def imports(members: Members, code: str) -> None:
        in_a_name(members, "__import__('lying_about')")

    with pytest.raises(LoadBlocked):
        torch.export.load(rewritten(honest, tmp_path / "bad.pt2", imports, marker))
    assert not marker.exists()


def legacy(honest: Path, place: Path, change: Callable[[Any], None]) -> Path:
    """An archive as PyTorch 2.6 wrote it."""
    with zipfile.ZipFile(honest) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    program = json.loads(members[GRAPH])
    change(program)
    nothing = io.BytesIO()
    torch.save({}, nothing)
    weights = io.BytesIO()
    net = Net()
    torch.save({**dict(net.named_parameters()), **dict(net.named_buffers())}, weights)
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("version", f"{program['schema_version']['major']}.{program['schema_version']['minor']}")
        archive.writestr("serialized_exported_program.json", json.dumps(program))
        archive.writestr("serialized_state_dict.pt", weights.getvalue())
        archive.writestr("serialized_constants.pt", nothing.getvalue())
        archive.writestr("serialized_example_inputs.pt", members["data/sample_inputs/model.pt"])
    return place


@pytest.mark.usefixtures("guarded")
def test_archives_of_older_versions_are_read_too(person: Any, honest: Path, tmp_path: Path, marker: Path) -> None:
    program = torch.export.load(legacy(honest, tmp_path / "old.pt2", lambda program: None))
    assert program.module()(torch.ones(5, 4)).shape == (5, 3)
    assert person.verdicts == ["safe"]
    bad = legacy(honest, tmp_path / "bad.pt2", lambda program: program.update(guards_code=["print('x')"]))
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        torch.export.load(bad)
    assert person.verdicts == ["safe", "danger"]


@pytest.mark.usefixtures("guarded")
def test_a_compiled_library_is_danger(person: Any, honest: Path, tmp_path: Path, marker: Path) -> None:
    def compiled(members: Members, code: str) -> None:
        members["data/aotinductor/model/model.so"] = b"\x7fELF" + bytes(200)

    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        torch.export.load(rewritten(honest, tmp_path / "compiled.pt2", compiled, marker))
    assert person.verdicts == ["danger"]
    assert [c.path for c in person.reports[0].contract.native] == [
        "compiled.pt2!compiled/data/aotinductor/model/model.so"
    ]


@pytest.mark.usefixtures("guarded")
def test_a_compiled_package_is_asked_about_before_torch_sees_it(
    person: Any, honest: Path, tmp_path: Path, marker: Path
) -> None:
    def only_compiled(members: Members, code: str) -> None:
        for name in [n for n in members if n.startswith(("models/", "data/"))]:
            del members[name]
        members["data/aotinductor/model/model.so"] = b"\x7fELF" + bytes(200)

    from torch._inductor.package import load_package

    place = rewritten(honest, tmp_path / "package.pt2", only_compiled, marker)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        load_package(str(place))
    assert person.verdicts == ["danger"]
    person.choice = "once"
    with pytest.raises(RuntimeError):  # torch tries it, and finds no library in it
        load_package(str(place))


@pytest.mark.usefixtures("guarded")
def test_within_an_accepted_load_the_same_program_with_a_library_is_another_one(
    person: Any, honest: Path, tmp_path: Path, marker: Path
) -> None:
    def with_library(members: Members, code: str) -> None:
        members["data/aotinductor/model/model.so"] = b"\x7fELF" + bytes(200)

    place = rewritten(honest, tmp_path / "more.pt2", with_library, marker)

    def ask(path: Path) -> Any:
        return open_path(path), LoadRequest("torch.export.load", str(path), "path")

    opened, request = ask(honest)
    with opened, walk.admit(request, opened):
        again, request = ask(honest)
        with again:
            walk.admit(request, again)
    opened, request = ask(honest)
    other, more = ask(place)
    with pytest.raises(LoadBlocked), opened, other, walk.admit(request, opened):
        walk.admit(more, other)
    assert person.verdicts == ["safe", "safe"]  # the outer loads; nothing within them is asked about


@pytest.mark.usefixtures("guarded")
def test_an_object_of_a_c_class_is_not_accepted(person: Any, honest: Path, tmp_path: Path, marker: Path) -> None:
    def custom(members: Members, code: str) -> None:
        members["data/constants/custom_obj_0"] = b"whatever"

    with pytest.raises(LoadBlocked):
        torch.export.load(rewritten(honest, tmp_path / "custom.pt2", custom, marker))


@pytest.mark.usefixtures("guarded")
def test_a_checkpoint_is_no_exported_program(person: Any, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "checkpoint.pt2")
    with pytest.raises(LoadBlocked, match="scanned as torch-zip"):
        torch.export.load(tmp_path / "checkpoint.pt2")
