"""The attacks on the first idea of a contract, each by its trick, against a scanner that is deliberately blind.

Whatever the scanner says, the payload must not run: what a load may do is checked again when it does it.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import threading
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from programs import call, dotted, make, mapping, name, number, program, raw, state, text, touching, tuple_of

from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.hooks import grants

numpy = pytest.importorskip("numpy")

pytestmark = pytest.mark.usefixtures("guarded", "person", "fooled")

early_loads = pickle.loads
early_load = pickle.load
numpy_core = "numpy._core.multiarray"


def refused(data: bytes) -> LoadBlocked:
    with pytest.raises(LoadBlocked) as stopped:
        pickle.loads(data)
    return stopped.value


def test_a_command(marker: Path) -> None:
    assert "may never be used" in str(refused(touching(marker)))
    assert not marker.exists()


def test_row_1_a_ufunc_is_rebuilt_from_a_module_name(marker: Path) -> None:
    system = call(name("numpy.core", "_ufunc_reconstruct"), text("os"), text("system"))
    refused(program(call(system, text(f"touch {marker}"))))
    refused(program(call(name("numpy._core", "_ufunc_reconstruct"), text("os"), text("system"))))
    assert not marker.exists()


@pytest.mark.parametrize("attribute", ["__globals__", "__builtins__", "__class__", "_private"])
def test_row_2_getattr_walks_through_a_function(attribute: str) -> None:
    refused(program(call(name("builtins", "getattr"), name(numpy_core, "_reconstruct"), text(attribute))))


def test_row_2_attrgetter(marker: Path) -> None:
    reach = call(name("operator", "attrgetter"), text("__globals__"))
    refused(program(call(reach, name(numpy_core, "_reconstruct"))))


def test_row_3_a_distribution_runs_its_template(marker: Path) -> None:
    pytest.importorskip("scipy.stats")
    code = f"import os; os.system('touch {marker}')"
    made = make(name("scipy.stats._continuous_distns", "norm_gen"))
    refused(program(state(made, mapping((text("_parse_arg_template"), text(code)), (text("shapes"), b"N")))))
    assert not marker.exists()


def test_row_4_source_code_as_an_argument(marker: Path) -> None:
    pytest.importorskip("torch")
    body = mapping((text("_code"), text(f"import os; os.system('touch {marker}')")))
    refused(program(call(name("torch.fx.graph_module", "reduce_graph_module"), body, text(""))))
    assert not marker.exists()


def test_row_6_a_data_type_turns_bytes_into_pointers() -> None:
    dtype = name("numpy", "dtype")
    objects = call(dtype, text("O8"), b"\x89", b"\x88")
    fields = mapping((text("f"), tuple_of(objects, number(0))))
    names = tuple_of(text("f"))
    made = call(dtype, text("V8"), b"\x89", b"\x88")
    shape = tuple_of(number(3), text("|"), b"N", names, fields, number(8), number(1), number(0))
    message = str(refused(program(call(name(numpy_core, "scalar"), state(made, shape), raw(b"A" * 8)))))
    assert "size or flags" in message


def test_row_6_a_data_type_changes_under_an_array() -> None:
    dtype = call(name("numpy", "dtype"), text("V8"), b"\x89", b"\x88") + b"\x94"
    empty = call(name(numpy_core, "_reconstruct"), name("numpy", "ndarray"), tuple_of(number(0)), raw(b"b"))
    array = state(empty, tuple_of(number(1), tuple_of(number(1)), b"h\x00", b"\x89", raw(b"A" * 8)))
    objects = call(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
    later = tuple_of(
        number(3), text("|"), b"N", tuple_of(text("f")), mapping((text("f"), tuple_of(objects, number(0)))),
        number(8), number(1), number(63),
    )  # fmt: skip
    refused(program(tuple_of(dtype, array, b"h\x00" + later + b"b")))


def test_row_8_a_memory_map_that_is_called_empties_its_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    mapped = call(name("numpy", "memmap"), text(str(victim)), text("u1"), text("w+"), number(0), tuple_of(number(8)))
    refused(program(mapped))
    assert victim.read_bytes() == b"precious"


def test_row_9_state_for_a_function() -> None:
    torch_utils = pytest.importorskip("torch._utils")
    before = torch_utils._rebuild_tensor_v2.__defaults__
    change = tuple_of(b"N", mapping((text("__defaults__"), tuple_of())))
    message = str(refused(program(state(name("torch._utils", "_rebuild_tensor_v2"), change))))
    assert "would itself be changed" in message
    assert torch_utils._rebuild_tensor_v2.__defaults__ is before


def test_row_10_a_persistent_id_with_source_writes_a_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.nn.Linear, "dump_patches", True)
    pid = tuple_of(text("module"), name("torch.nn.modules.linear", "Linear"), text("x.py"), text("source"))
    pickles = [
        pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001})
    ]
    legacy = b"".join(pickles) + program(pid + b"Q", 2) + pickle.dumps([], 2)
    with pytest.raises(LoadBlocked):
        torch.load(io.BytesIO(legacy), weights_only=False)
    assert list(tmp_path.iterdir()) == []


def test_row_11_a_module_beside_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: Path) -> None:
    (tmp_path / "lightgbm.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Booster: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "lightgbm", raising=False)
    monkeypatch.delitem(__import__("sys").modules, "lightgbm.basic", raising=False)
    message = str(refused(program(make(name("lightgbm", "Booster")))))
    assert "a file of your own" in message
    assert not marker.exists()


def test_row_12_early_bound_functions_meet_a_default_deny(marker: Path) -> None:
    for load in (early_loads, lambda data: early_load(io.BytesIO(data))):
        with pytest.raises(LoadBlocked):
            load(touching(marker))
        with pytest.raises(LoadBlocked):
            load(program(call(name("numpy.core", "_ufunc_reconstruct"), text("os"), text("system"))))
    assert not marker.exists()
    assert early_loads(pickle.dumps({"plain": [1, 2.0, None]})) == {"plain": [1, 2.0, None]}


def test_row_12_a_thread_beside_a_load_has_no_part_in_it(marker: Path) -> None:
    caught: list[BaseException] = []
    loading, tried = threading.Event(), threading.Event()

    def beside() -> None:
        loading.wait()
        try:
            early_loads(program(name("numpy", "dtype")))
        except LoadBlocked as stopped:
            caught.append(stopped)
        tried.set()

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            loading.set()
            tried.wait(30)
            return pid

    thread = threading.Thread(target=beside)
    thread.start()
    with pytest.raises(LoadBlocked):  # the refusal in a thread that belongs to nobody ends the load that is on
        Unpickler(io.BytesIO(program(tuple_of(text("id") + b"Q", name("numpy", "dtype"))))).load()
    thread.join()
    assert len(caught) == 1


def test_row_13_a_copied_context_does_not_outlive_its_load() -> None:
    contexts = []

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            contexts.append(copy_context())
            return pid

    Unpickler(io.BytesIO(program(tuple_of(text("id") + b"Q", name("numpy", "dtype"))))).load()
    with pytest.raises(LoadBlocked):
        contexts[0].run(early_loads, program(name("numpy", "dtype")))
    assert contexts[0].run(grants.current) is None


def test_row_14_an_extension_code_from_the_cache(marker: Path) -> None:
    copyreg.add_extension("os", "system", 240)
    copyreg._extension_cache[240] = os.system  # type: ignore[attr-defined]
    try:
        data = program(call(b"\x82\xf0", text(f"touch {marker}")), 2)
        for load in (pickle.loads, pickle._loads):  # type: ignore[attr-defined]
            with pytest.raises((LoadBlocked, ValueError)):
                load(data)
    finally:
        copyreg.remove_extension("os", "system", 240)
    assert not marker.exists()


def test_row_15_dill_hands_out_no_namespace() -> None:
    dill = pytest.importorskip("dill")
    with pytest.raises(LoadBlocked):
        dill.loads(program(name("__builtin__", "__main__"), 2))


def test_row_16_a_torch_package(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch.package")
    with pytest.raises(LoadBlocked, match=r"torch\.package"):
        torch.PackageImporter(str(tmp_path / "p.pt"))


def test_row_17_a_data_source_removes_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "precious"
    folder.mkdir()
    made = make(name("numpy.lib._datasource", "DataSource"))
    refused(program(state(made, mapping((text("_istmpdest"), b"\x88"), (text("_destpath"), text(str(folder)))))))
    assert folder.is_dir()


def test_row_25_a_second_machine_does_not_turn_a_refusal(marker: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    (tmp_path / "frame.pkl").write_bytes(touching(marker))
    with pytest.raises(ContractViolation):
        pandas.read_pickle(tmp_path / "frame.pkl")
    assert not marker.exists()


def test_nothing_reaches_the_guard_itself() -> None:
    for data in (
        name("nbguard.hooks", "uninstall"),
        dotted("nbguard", "hooks.uninstall"),
        name("nbguard", "uninstall"),
    ):
        refused(program(call(data)))
    with pytest.raises(LoadBlocked):
        early_loads(program(dotted("__main__", "nbguard.hooks.uninstall")))


def test_hooks_that_are_filled_after_they_were_looked_at() -> None:
    pytest.importorskip("torch")
    utils = "torch._utils"
    hooks = call(name("collections", "OrderedDict")) + b"\x94"
    parameter = call(name(utils, "_rebuild_parameter"), b"N", b"\x88", b"h\x00")
    filled = b"h\x00" + text("k") + name("collections", "OrderedDict") + b"s"
    message = str(refused(program(tuple_of(hooks, parameter, filled))))
    assert "hooks" in message


def test_a_result_is_never_called() -> None:
    made = call(name("numpy", "dtype"), text("f8"))
    assert "called in turn" in str(refused(program(call(made, text("x")))))


@pytest.mark.parametrize("load", [pickle.loads, pickle._loads], ids=["C", "Python"])  # type: ignore[attr-defined]
def test_both_machines(load: Any, marker: Path) -> None:
    with pytest.raises(LoadBlocked):
        load(touching(marker))
    assert not marker.exists()


def test_a_memo_that_an_earlier_program_left_behind(marker: Path) -> None:
    """Alone the second program calls `numpy.add`; with the strings of the first in the memo it would be `os.system`."""
    first = program(tuple_of(text("os") + b"\x94", text("system") + b"\x94"))
    strings = text("numpy._core.umath") + b"\x940" + text("add") + b"\x940"
    second = program(strings + call(name("numpy.core", "_ufunc_reconstruct"), b"h\x00", b"h\x01"))
    assert pickle.loads(second) is numpy.add
    unpickler = pickle.Unpickler(io.BytesIO(first + second))
    assert unpickler.load() == ("os", "system")
    with pytest.raises(LoadBlocked):
        unpickler.load()
