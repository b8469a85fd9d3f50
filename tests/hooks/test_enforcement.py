"""Bytes, requests, threads: what was scanned is what is loaded, and a refusal stays one."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Asker
from programs import name, program, touching

from nbguard import hooks
from nbguard.errors import ContractViolation, LoadBlocked
from nbguard.hooks import grants, walk

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
joblib = pytest.importorskip("joblib")

pytestmark = pytest.mark.usefixtures("guarded")


def swapping(monkeypatch: pytest.MonkeyPatch, swap: Any) -> None:
    """Do something to the disk right after the scan."""
    honest = walk.scan

    def scan(request: Any, opened: Any) -> Any:
        report = honest(request, opened)
        swap()
        return report

    monkeypatch.setattr(walk, "scan", scan)


@pytest.mark.parametrize("how", ["replaced", "overwritten"])
@pytest.mark.parametrize("loader", ["torch", "torch-legacy", "joblib", "pickle", "numpy", "npz", "pandas"])
def test_a_file_swapped_between_scan_and_load(
    tmp_path: Path, marker: Path, person: Asker, monkeypatch: pytest.MonkeyPatch, how: str, loader: str
) -> None:
    path = tmp_path / "model"
    evil = tmp_path / "evil"

    class Touch:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    pd = pytest.importorskip("pandas")
    objects = np.array([{"a": 1}, None], dtype=object)
    save: dict[str, Any] = {
        "torch": lambda v, p: torch.save(v, p),
        "torch-legacy": lambda v, p: torch.save(v, p, _use_new_zipfile_serialization=False),
        "joblib": lambda v, p: joblib.dump({"x": np.ones(5), "v": v}, p),
        "pickle": lambda v, p: p.write_bytes(pickle.dumps(v)),
        "numpy": lambda v, p: p.write_bytes(_npy(np.array([v, objects], dtype=object))),
        "npz": lambda v, p: p.write_bytes(_npz(np.array([v, objects], dtype=object))),
        "pandas": lambda v, p: pd.to_pickle(v, p),
    }
    load: dict[str, Any] = {
        "torch": lambda: torch.load(path, weights_only=False),
        "torch-legacy": lambda: torch.load(path, weights_only=False),
        "joblib": lambda: joblib.load(path),
        "pickle": lambda: _pickle_load(path),
        "numpy": lambda: np.load(path, allow_pickle=True),
        "npz": lambda: np.load(path, allow_pickle=True)["o"],
        "pandas": lambda: pd.read_pickle(path),
    }
    save[loader]({"w": [1, 2]}, path)
    save[loader](Touch(), evil)

    def swap() -> None:
        if how == "replaced":
            os.replace(evil, path)
        else:
            path.write_bytes(evil.read_bytes())

    swapping(monkeypatch, swap)
    with contextlib.suppress(LoadBlocked, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        load[loader]()
    assert not marker.exists()


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def _npz(array: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, o=array)
    return out.getvalue()


def _pickle_load(path: Path) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*TorchScript:UserWarning")
def test_row_5_a_zip_that_becomes_torchscript(tmp_path: Path, person: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "w.pt", tmp_path / "s.pt"
    torch.save({"w": torch.ones(2)}, path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(other))
    swapping(monkeypatch, lambda: path.write_bytes(other.read_bytes()))
    with pytest.raises((LoadBlocked, RuntimeError)):
        torch.load(path, weights_only=False)


@pytest.mark.parametrize("first", ["DATA.PKL", "data.pkl"])
def test_row_19_a_zip_that_two_readers_read_differently(
    tmp_path: Path, marker: Path, person: Asker, fooled: None, first: str
) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as honest,
        zipfile.ZipFile(tmp_path / "x.pt", "w") as crafted,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        crafted.writestr(f"w/{first}", touching(marker))
        for entry in honest.namelist():
            crafted.writestr(entry, honest.read(entry))
    with contextlib.suppress(LoadBlocked, RuntimeError, pickle.UnpicklingError):
        torch.load(tmp_path / "x.pt", weights_only=False)
    assert not marker.exists()


class TwoFaced(io.BytesIO):
    """Answers the first reading with one thing and later ones with another."""

    def __init__(self, first: bytes, later: bytes) -> None:
        super().__init__(first)
        self.later = later
        self.reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        if self.reads == 2:
            at = self.tell()
            self.seek(0)
            self.truncate()
            self.write(self.later)
            self.seek(at)
        return super().read(size)


@pytest.mark.parametrize("load", [pickle.load, torch.load, joblib.load])
def test_a_two_faced_file_object(load: Any, marker: Path, person: Asker) -> None:
    if load is pickle.load:
        load = lambda f: pickle.load(f)  # noqa: E731 - by that name, as a person would
    honest = pickle.dumps({"w": np.ones(3)})
    with contextlib.suppress(LoadBlocked, pickle.UnpicklingError, RuntimeError, ValueError, EOFError):
        load(TwoFaced(honest, touching(marker)))
    assert not marker.exists()


def test_row_7_a_wrapper_that_skips_another_length(tmp_path: Path, marker: Path, person: Asker, fooled: None) -> None:
    """The bytes of an array hold a program; a machine that skips too little would run it."""
    payload = touching(marker)
    array = np.frombuffer(payload + b"\0" * (64 - len(payload) % 64), dtype="u1")
    joblib.dump([array, "end"], tmp_path / "x.joblib")
    data = (tmp_path / "x.joblib").read_bytes()
    shape = b"K" + bytes([len(array)]) + b"\x85"
    assert shape in data
    (tmp_path / "y.joblib").write_bytes(data.replace(shape, b"K\x01\x85", 1))
    with pytest.raises((LoadBlocked, ValueError)):
        joblib.load(tmp_path / "y.joblib")
    assert not marker.exists()


def test_row_18_a_companion_that_lies_elsewhere(tmp_path: Path, marker: Path, person: Asker, fooled: None) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.npy").write_bytes(_npy(np.array([0], dtype=object)))
    state = b"}(X\x08\x00\x00\x00filenameX" + len(str(outside / "a.npy")).to_bytes(4, "little")
    state += str(outside / "a.npy").encode() + b"X\x08\x00\x00\x00subclass" + name("numpy", "ndarray") + b"u"
    (tmp_path / "m.joblib").write_bytes(
        program(name("joblib.numpy_pickle_compat", "NDArrayWrapper") + b")\x81" + state + b"b", 2)
    )
    with pytest.raises(LoadBlocked):
        joblib.load(tmp_path / "m.joblib")


def test_row_20_a_memory_map_of_another_file(tmp_path: Path, person: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib.dump({"x": np.ones(5)}, tmp_path / "x.joblib")
    joblib.dump({"x": np.zeros(5)}, tmp_path / "y.joblib")
    swapping(monkeypatch, lambda: os.replace(tmp_path / "y.joblib", tmp_path / "x.joblib"))
    with pytest.raises(ContractViolation):
        joblib.load(tmp_path / "x.joblib", mmap_mode="r")


def test_row_27_an_accepted_name_that_means_other_code(
    tmp_path: Path, marker: Path, person: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("class Thing:\n    pass\n")
    data = program(name("mine", "Thing") + b")\x81")
    assert type(pickle.loads(data)).__name__ == "Thing"
    assert person.verdicts == ["review"]
    first = person.reports[0].contract.local_modules["mine"]
    monkeypatch.delitem(sys.modules, "mine")
    (tmp_path / "mine.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Thing:\n    pass\n")
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        pickle.loads(data)
    assert person.reports[1].contract.local_modules["mine"] != first
    assert person.reports[1].contract.digest != person.reports[0].contract.digest
    assert not marker.exists()


def test_what_a_module_only_imported_is_not_its_own(
    tmp_path: Path, marker: Path, person: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helpers.py").write_text("from os import system\n")
    import helpers  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(LoadBlocked):
        pickle.loads(program(name("helpers", "system") + b"(X\x04\x00\x00\x00truetR"))
    monkeypatch.delitem(sys.modules, "helpers")


def test_refusing_loads_nothing(marker: Path, person: Asker) -> None:
    person.choice = "refuse"
    with pytest.raises(LoadBlocked) as stopped:
        pickle.loads(touching(marker))
    assert stopped.value.report is person.reports[0]
    assert not marker.exists()


def test_a_danger_that_a_person_accepts_does_run_and_no_more(marker: Path, person: Asker) -> None:
    assert pickle.loads(touching(marker)) == 0
    assert marker.exists()
    assert person.verdicts == ["danger"]


@pytest.mark.usefixtures("nobody")
def test_headless_says_how_to_approve(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.raises(LoadBlocked, match=r"nbguard approve .*m\.pt"):
        torch.load(tmp_path / "m.pt", weights_only=False)
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    assert torch.load(tmp_path / "w.pt", weights_only=True)["w"].sum() == 2


def test_row_25_a_swallowed_refusal_ends_the_outer_request(marker: Path, person: Asker) -> None:
    person.choice = "refuse"
    tries = []

    def library() -> str:
        with grants.outer():
            for _ in range(2):
                try:
                    pickle.loads(touching(marker))
                except LoadBlocked as stopped:
                    tries.append(stopped)
            return "loaded another way"

    with pytest.raises(LoadBlocked):
        library()
    assert len(tries) == 2
    assert len(person.reports) <= 1
    assert not marker.exists()


def test_a_nested_load_in_another_thread_is_recognised_by_its_content(person: Asker) -> None:
    from nbguard.artifact.model import LoadRequest
    from nbguard.artifact.sources import open_bytes

    data = pickle.dumps(np.arange(3))
    caught: list[Any] = []
    library = compile("def work(loads, data, out): out.append(loads(data))", np.__file__, "exec")
    space: dict[str, Any] = {}
    exec(library, space)
    with open_bytes(data) as opened:
        grant = walk.admit(LoadRequest("library.load", "x", "stream"), opened)
        with grant:
            thread = threading.Thread(target=space["work"], args=(pickle.loads, data, caught))
            thread.start()
            thread.join()
    assert np.array_equal(caught[0], np.arange(3))
    assert len(person.reports) == 1


def test_a_library_by_itself_loads_explained_data_and_nothing_else(marker: Path, person: Asker) -> None:
    space: dict[str, Any] = {}
    exec(compile("def work(loads, data): return loads(data)", np.__file__, "exec"), space)
    assert np.array_equal(space["work"](pickle.loads, pickle.dumps(np.arange(3))), np.arange(3))
    with pytest.raises(LoadBlocked):
        space["work"](pickle.loads, touching(marker))
    assert person.reports == []
    assert not marker.exists()


def test_weights_only_loads_of_libraries_pass(tmp_path: Path, person: Asker) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pt")
    space: dict[str, Any] = {}
    exec(compile("def work(load, path): return load(path, weights_only=True)", np.__file__, "exec"), space)
    assert space["work"](torch.load, tmp_path / "w.pt")["w"].sum() == 2
    assert person.reports == []


def test_uninstalling_gives_everything_back() -> None:
    hooks.uninstall()
    before = {
        "load": pickle.load, "loads": pickle.loads, "Unpickler": pickle.Unpickler,
        "code": pickle._Unpickler.load.__code__, "torch": torch.load.__code__, "joblib": joblib.load.__code__,  # type: ignore[attr-defined]
        "numpy": np.load.__code__ if hasattr(np.load, "__code__") else None, "meta_path": list(sys.meta_path),
        "defaults": torch.load.__kwdefaults__, "dict": dict(torch.load.__dict__),
    }  # fmt: skip
    hooks.install()
    hooks.install()
    assert hooks.installed()
    assert pickle.loads is not before["loads"]
    hooks.uninstall()
    hooks.uninstall()
    assert not hooks.installed()
    after = {
        "load": pickle.load, "loads": pickle.loads, "Unpickler": pickle.Unpickler,
        "code": pickle._Unpickler.load.__code__, "torch": torch.load.__code__, "joblib": joblib.load.__code__,  # type: ignore[attr-defined]
        "numpy": np.load.__code__ if hasattr(np.load, "__code__") else None, "meta_path": list(sys.meta_path),
        "defaults": torch.load.__kwdefaults__, "dict": dict(torch.load.__dict__),
    }  # fmt: skip
    assert before == after


SCRIPT = """
import multiprocessing, os, pickle, sys
from concurrent.futures import ProcessPoolExecutor
import numpy, torch, joblib
import nbguard
nbguard.install()
from nbguard.hooks import walk
def ask(*a): raise SystemExit("asked")
walk.ask = ask
class Data(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.ones(2) * i, {"n": numpy.ones(1)}
class Own:
    def __init__(self, n): self.n = n
def square(own): return Own(own.n ** 2)
def main():
    method = sys.argv[1]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert [o.n for o in pool.map(square, [Own(2), Own(3)])] == [4, 9]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert pool.submit(square, Own(3)).result().n == 9
    if method == "fork":
        assert len(list(torch.utils.data.DataLoader(Data(), num_workers=1, batch_size=4))) == 2
        assert [o.n for o in joblib.Parallel(2)(joblib.delayed(square)(Own(i)) for i in range(3))] == [0, 1, 4]
    print("quiet")
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_ask_nothing(tmp_path: Path, method: str) -> None:
    (tmp_path / "work.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "work.py", method], cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stdout.strip().endswith("quiet"), done.stderr[-3000:]


def test_installing_imports_nothing_heavy() -> None:
    code = (
        "import sys, nbguard; nbguard.install(); "
        "print([m for m in ('torch','transformers','numpy','pandas','joblib','rich','ipywidgets','huggingface_hub',"
        "'fickling','sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["torch", "joblib", "numpy", "pandas"])
def test_libraries_imported_later_are_guarded(module: str, marker: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.pkl").write_bytes(touching(marker))
    call = {
        "torch": "torch.load('evil.pkl', weights_only=False)",
        "joblib": "joblib.load('evil.pkl')",
        "numpy": "numpy.load('evil.pkl', allow_pickle=True)",
        "pandas": "pandas.read_pickle('evil.pkl')",
    }[module]
    code = (
        f"import nbguard; nbguard.install()\nimport {module}\ntry: {call}\nexcept nbguard.LoadBlocked: print('blocked')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "blocked", done.stderr[-2000:]
    assert not marker.exists()


def test_a_guarded_block(tmp_path: Path, person: Asker) -> None:
    import nbguard

    hooks.uninstall()
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(np.arange(4)))
    with nbguard.guard(path) as report:
        assert report is not None
        assert report.verdict.word == "safe"
        with open(path, "rb") as file:
            assert np.array_equal(pickle.load(file), np.arange(4))
    assert not hooks.installed()
    assert len(person.reports) == 1


def test_libraries_unpickle_explained_data_by_the_thousand(marker: Path, person: Asker) -> None:
    """Without a scan for each, and still not what is more than data."""
    space: dict[str, Any] = {}
    exec(compile("def work(loads, data): return loads(data)", np.__file__, "exec"), space)
    scans: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "scan", lambda *a: scans.append(a))
        for _ in range(50):
            assert space["work"](pickle.loads, pickle.dumps(np.float64(1))) == 1
    assert scans == []
    for data in (
        touching(marker),
        program(name("numpy.core", "_ufunc_reconstruct") + b"(X\x02\x00\x00\x00osX\x06\x00\x00\x00systemtR"),
        pickle.dumps(torch.nn.Linear(1, 1)),
    ):
        with pytest.raises(LoadBlocked):
            space["work"](pickle.loads, data)
    assert not marker.exists()


def test_a_refusal_that_a_library_turns_into_its_own_error_is_still_a_refusal(person: Asker, marker: Path) -> None:
    person.choice = "refuse"

    def library() -> None:
        with grants.outer():
            try:
                pickle.loads(touching(marker))
            except LoadBlocked as stopped:
                raise RuntimeError("could not read it") from stopped

    with pytest.raises(LoadBlocked):
        library()


def test_one_grant_in_several_threads(person: Asker, tmp_path: Path) -> None:
    objects = {f"a{n}": np.array([n, None], dtype=object) for n in range(8)}
    np.savez(tmp_path / "o.npz", **objects)
    archive = np.load(tmp_path / "o.npz", allow_pickle=True)
    found: list[Any] = []
    lock = threading.Lock()

    def read(key: str) -> None:
        with lock:
            found.append(archive[key].tolist())

    threads = [threading.Thread(target=read, args=(key,)) for key in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(f[0] for f in found) == list(range(8))
    assert len(person.reports) == 1


def test_a_refusal_in_a_thread_of_the_persons_is_nobody_elses() -> None:
    """Twenty loads at once are twenty requests; a refused one does not end the others."""
    from concurrent.futures import ThreadPoolExecutor

    with grants.outer() as mine, ThreadPoolExecutor(1) as pool:
        pool.submit(grants.refuse, LoadBlocked("no"), alone=True).result()
        assert mine.refused is None
