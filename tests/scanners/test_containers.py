"""Every container, honest and hostile, scanned in the real worker. The payload is always `os.system` of a marker."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nbguard.artifact.sources import open_bytes, open_path
from nbguard.report.model import Report, Verdict
from nbguard.scanners import Limits, scan, scan_opened

TENSORS = OrderedDict(weight=torch.arange(12.0).reshape(3, 4), bias=torch.zeros(3, dtype=torch.int64))


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch marker",)


HARM = pickle.dumps({"x": Payload()}, 2)
GOOD = pickle.dumps({"x": [1, 2]}, 2)


def look(data: bytes, loader: str | None = None, limits: Limits | None = None) -> Report:
    with open_bytes(data) as opened:
        return scan_opened(opened, loader=loader, limits=limits)


def rules(report: Report) -> set[str]:
    return {f.rule for f in report.findings}


def saved(value: object, **how: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **how)
    return out.getvalue()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, data in members:
                archive.writestr(name, data)
    return out.getvalue()


def dumped(value: object, compress: object = 0) -> bytes:
    out = io.BytesIO()
    joblib.dump(value, out, compress=compress)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def scripted(module: torch.nn.Module) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), out)
    return out.getvalue()


def tarred(*members: tuple[str, bytes], compression: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}" if compression else "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def safetensors(tmp_path: Path) -> bytes:
    save_file(dict(TENSORS), tmp_path / "m.safetensors")
    return (tmp_path / "m.safetensors").read_bytes()


ARRAYS = {"w": np.arange(1000.0), "o": np.array([{"a": 1}, None], dtype=object)}

HONEST: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pickle": ("pickle", lambda: GOOD),
    "protocol 0": ("pickle", lambda: pickle.dumps({"x": [1, "y"]}, 0)),
    "several pickles": ("pickle", lambda: GOOD + pickle.dumps("two") + pickle.dumps(3)),
    "torch zip": ("torch-zip", lambda: saved(TENSORS)),
    "torch legacy": ("torch-legacy", lambda: saved(TENSORS, _use_new_zipfile_serialization=False)),
    "torch legacy, protocol 4": (
        "torch-legacy",
        lambda: saved(TENSORS, _use_new_zipfile_serialization=False, pickle_protocol=4),
    ),
    "joblib": ("joblib", lambda: dumped(ARRAYS)),
    **{
        f"joblib {kind}": (f"joblib+{kind}", lambda kind=kind: dumped(ARRAYS, (kind, 3)))
        for kind in ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")
    },
    "gzipped pickle": ("pickle+gzip", lambda: gzip.compress(GOOD)),
    "npy": ("npy", lambda: npy(np.arange(10))),
    "npy of objects": ("npy", lambda: npy(np.array([1, "a"], dtype=object))),
    "npz": ("npz", lambda: npz(a=np.arange(3), b=np.eye(2))),
    "gzipped npy": ("npy+gzip", lambda: gzip.compress(npy(np.arange(10)))),
    "text": ("text", lambda: b"A licence, and nothing else.\n"),
    "JSON": ("json", lambda: b'{"a": 1}'),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_files_are_safe(name: str) -> None:
    kind, make = HONEST[name]
    report = look(make())
    assert (report.files[0].format, report.verdict) == (kind, Verdict.SAFE), report.findings
    assert sum(report.files[0].regions.values()) == report.files[0].size
    assert len(report.summary) == 1


def test_safetensors_are_safe(tmp_path: Path) -> None:
    report = look(safetensors(tmp_path))
    assert (report.files[0].format, report.verdict) == ("safetensors", Verdict.SAFE)
    assert report.summary == ("Loading this builds 2 tensors (72 bytes) and runs no code.",)


def _harmful_legacy() -> bytes:
    return saved({"x": Payload()}, _use_new_zipfile_serialization=False)


HARMFUL: dict[str, Callable[[], bytes]] = {
    "pickle": lambda: HARM,
    "second of several pickles": lambda: GOOD + HARM,
    "behind junk": lambda: b"\x00junk" + HARM,
    "torch zip": lambda: saved({"x": Payload()}),
    "torch legacy": _harmful_legacy,
    "torch legacy, another program": lambda: saved(TENSORS, _use_new_zipfile_serialization=False).replace(
        pickle.dumps(1001, 2), HARM, 1
    ),
    "joblib": lambda: dumped({"w": np.arange(5.0), "x": Payload()}),
    "joblib, in an array of objects": lambda: dumped(np.array([Payload()], dtype=object)),
    **{
        f"joblib {kind}": lambda kind=kind: dumped({"x": Payload()}, (kind, 3))
        for kind in ("zlib", "gzip", "bz2", "lzma", "xz", "lz4")
    },
    "gzip in xz": lambda: __import__("lzma").compress(gzip.compress(HARM)),
    "npy": lambda: npy(np.array([Payload()], dtype=object)),
    "npz": lambda: npz(a=np.arange(3), b=np.array([Payload()], dtype=object)),
    "npz member of another name": lambda: zipped(("readme.txt", npy(np.array([Payload()], dtype=object)))),
    "tar": lambda: tarred(("a/b.txt", b"hello"), ("a/model.pkl", HARM)),
    "tar.gz": lambda: tarred(("model.pkl", HARM), compression="gz"),
    "zip of anything": lambda: zipped(("a/model.pkl", HARM), method=zipfile.ZIP_DEFLATED),
    "zip in a zip": lambda: zipped(("inner.zip", zipped(("model.pkl", HARM)))),
    "torch zip beside its program": lambda: zipped(("a/data.pkl", GOOD), ("a/version", b"3"), ("a/extra.pkl", HARM)),
    "pickle with a zip at its end": lambda: HARM + zipped(("a.txt", b"x")),
    "zip at the end of a pickle": lambda: GOOD + zipped(("a/data.pkl", HARM)),
    "payload, then a crash": lambda: HARM[:-1] + b"\xff",
    "torch zip with the encryption flag": lambda: _flagged(zipped(("a/data.pkl", HARM), ("a/version", b"3"))),
    "torch zip compressed": lambda: zipped(("a/data.pkl", HARM), ("a/version", b"3"), method=zipfile.ZIP_DEFLATED),
}


def _flagged(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + b"\x01" + data[at + 1 :]


@pytest.mark.parametrize("name", HARMFUL)
def test_harm_is_found_in_every_container(name: str) -> None:
    report = look(HARMFUL[name]())
    assert report.verdict is Verdict.DANGER, (report.files, report.findings)
    assert any("system" in g.dotted for g in report.contract.globals)
    assert "posix.system" in report.summary[0] or "os.system" in report.summary[0]


def test_scanning_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for make in HARMFUL.values():
        look(make())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "second"), [("a/data.pkl", "a/data.pkl"), ("a/DATA.PKL", "a/data.pkl"), ("a/data.pkl", "a/Data.pkl")]
)
@pytest.mark.parametrize("order", [0, 1])
def test_duplicate_programs(first: str, second: str, order: int) -> None:
    """Row 19: both are judged, and the file is no more than unverifiable even where both are good."""
    members = [(first, GOOD), (second, HARM)]
    data = zipped(*members[:: -1 if order else 1], ("a/version", b"3"))
    assert look(data).verdict is Verdict.DANGER
    harmless = look(zipped((first, GOOD), (second, pickle.dumps(1, 2)), ("a/version", b"3")))
    assert harmless.verdict is Verdict.UNVERIFIABLE
    assert "zip.duplicate-member" in rules(harmless)


def test_a_program_in_capitals_alone() -> None:
    report = look(zipped(("a/DATA.PKL", GOOD), ("a/version", b"3")))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "zip.case" in rules(report)


def test_a_damaged_compressed_program_is_unverifiable() -> None:
    """PyTorch ignores check sums, and its inflate was seen to give other bytes than zlib on damaged streams."""
    data = zipped(("a/data.pkl", GOOD), ("a/version", b"3"), method=zipfile.ZIP_DEFLATED)
    assert look(data).verdict is Verdict.SAFE
    at = data.index(b"PK\x01\x02") + 16
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert look(damaged).verdict is Verdict.UNVERIFIABLE
    assert "zip.checksum" in rules(look(damaged))


def test_torchscript_is_reviewed_with_the_digests_of_its_code() -> None:
    report = look(scripted(torch.nn.Linear(2, 2)))
    assert (report.files[0].format, report.verdict) == ("torchscript", Verdict.REVIEW)
    assert {c.kind for c in report.contract.code} == {"torchscript"}
    assert report.contract.containers == {"<stream>": "torchscript"}
    assert not report.weights_only


class Writes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("/tmp/never", True, 1)


class Restores(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> int:
        return 1

    @torch.jit.export
    def __setstate__(self, state: int) -> None:
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_torchscript_that_reaches_files_is_dangerous() -> None:
    """Row 5."""
    report = look(scripted(Writes()))
    assert report.verdict is Verdict.DANGER
    assert "torchscript.files" in rules(report)


def test_torchscript_that_acts_while_loading_is_told() -> None:
    """Row 5."""
    report = look(scripted(Restores()))
    assert report.verdict is Verdict.REVIEW
    assert "torchscript.setstate" in rules(report)


def test_a_swap_to_torchscript_changes_the_contract() -> None:
    """Row 5: the kind of container is part of what is accepted."""
    plain = look(saved(TENSORS))
    script = look(scripted(torch.nn.Linear(2, 2)))
    assert plain.contract.containers["<stream>"] == "torch-zip"
    assert script.contract.containers["<stream>"] == "torchscript"


def test_torch_packages_are_dangerous(tmp_path: Path) -> None:
    from torch.package import PackageExporter

    with PackageExporter(str(tmp_path / "p.pt")) as package:
        package.save_source_string("mod", "print('hello')")
    report = scan(str(tmp_path / "p.pt"))
    assert (report.files[0].format, report.verdict) == ("torch-package", Verdict.DANGER)


def test_torch_exports_are_read(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "e.pt2")
    report = scan(str(tmp_path / "e.pt2"))
    assert (report.files[0].format, report.verdict) == ("torch-export", Verdict.SAFE)
    assert [c.kind for c in report.contract.code] == ["torch-export"]


def _old_tar(storages: bytes = b"", tensors: bytes = b"", program: bytes = b"") -> bytes:
    one = pickle.dumps(1, 2)
    storage = b"\x80\x02(U\x010U\x03cpuctorch\nFloatStorage\nt." + struct.pack("<q4f", 4, 1, 2, 3, 4)
    tensor = b"\x80\x02(K\x05K\x00ctorch\nFloatTensor\nt." + struct.pack("<iiqqq", 1, 0, 4, 1, 0)
    return tarred(
        ("sys_info", pickle.dumps({}, 2)),
        ("storages", one + storage + (storages or pickle.dumps([], 2))),
        ("tensors", one + (tensors or tensor)),
        ("pickle", program or pickle.dumps({"x": 1}, 2)),
    )


def test_the_oldest_torch_files_are_read() -> None:
    report = look(_old_tar())
    assert report.files[0].format == "torch-tar"
    assert report.verdict <= Verdict.REVIEW, report.findings
    assert {p.member for p in report.contract.programs} >= {"storages", "tensors", "pickle"}


@pytest.mark.parametrize("where", ["storages", "tensors", "program"])
def test_harm_in_the_oldest_torch_files(where: str) -> None:
    report = look(_old_tar(**{where: HARM}))
    assert report.files[0].format.startswith("torch-tar")
    assert report.verdict is Verdict.DANGER


def test_a_tar_with_duplicates_is_unverifiable_and_one_with_links_out_of_it_is_dangerous() -> None:
    assert "tar.duplicate-member" in rules(look(tarred(("a", b"x"), ("a", b"y"))))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    report = look(out.getvalue())
    assert report.verdict is Verdict.DANGER
    assert {"tar.link", "archive.link"} <= rules(report)


# Polyglots: everything that any loader would see.


def test_a_pickle_with_a_zip_at_its_end_is_both() -> None:
    """`zipfile.is_zipfile` says yes to such files, and a scanner that believes it reads nothing of the pickle."""
    report = look(GOOD + zipped(("a.txt", b"x")))
    assert report.files[0].format == "pickle+zip"
    assert len(report.contract.programs) == 1


def test_a_picture_that_is_a_pickle_too() -> None:
    """A GIF's first bytes are the opcode for a float; what follows may be a program."""
    body = b"GIF89a\x01\x01\x01" + HARM[2:]
    assert look(body).verdict is Verdict.DANGER


def test_text_that_is_a_pickle_too() -> None:
    assert look(b"cos\nsystem\n(S'touch marker'\ntR.").verdict is Verdict.DANGER
    assert look(b"cos\nsystem\n(S'touch marker'\ntR# a comment").verdict is Verdict.DANGER


def test_a_model_of_another_format_that_is_a_pickle_too() -> None:
    assert look(b"GGUF\x03\0\0\0\0" + HARM[2:]).verdict is Verdict.DANGER


def test_a_plain_load_of_a_joblib_file_is_judged_as_one() -> None:
    """joblib skips an array's bytes; a plain Unpickler takes them for opcodes, and breaks off there at best."""
    data = dumped({"w": np.arange(100.0)})
    assert look(data, "joblib.load").verdict is Verdict.SAFE
    assert look(data, "pickle.load").verdict is Verdict.UNVERIFIABLE


# Broken, empty, bombs.


@pytest.mark.parametrize("name", ["torch zip", "torch legacy", "joblib", "joblib gzip", "npy", "npy of objects", "npz"])
def test_what_is_cut_off_is_unverifiable(name: str) -> None:
    data = HONEST[name][1]()
    for share in (0.3, 0.9):
        report = look(data[: int(len(data) * share)])
        assert report.verdict in (Verdict.UNVERIFIABLE, Verdict.DANGER) or name == "torch legacy", report.findings


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\xff\x17" * 1000, b"\x80\x04", b"PK\x03\x04", b"\x1f\x8b\x08"])
def test_empty_and_unknown_bytes_are_unverifiable(data: bytes) -> None:
    assert look(data).verdict is Verdict.UNVERIFIABLE


@pytest.mark.parametrize("kind", ["zlib", "gzip", "bz2", "lzma", "xz", "lz4"])
def test_compression_bombs_are_unverifiable(kind: str) -> None:
    limits = Limits(unpacked=1 << 20)
    report = look(dumped(bytes(20_000_000), (kind, 3)), limits=limits)
    assert report.verdict is Verdict.UNVERIFIABLE


def test_zip_bombs_are_unverifiable() -> None:
    data = zipped(*((f"{n}.bin", bytes(400_000)) for n in range(10)), method=zipfile.ZIP_DEFLATED)
    report = look(data, limits=Limits(unpacked=1 << 20))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "limits.unpacked" in rules(report)


def test_endless_nesting_is_unverifiable() -> None:
    data = GOOD
    for _ in range(12):
        data = gzip.compress(data)
    report = look(data)
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "limits.depth" in rules(report)


def test_headers_of_huge_files_are_all_that_is_read(tmp_path: Path) -> None:
    """An 8 GB file that takes no room on the disk: reading its tensors would take minutes."""
    import json

    size = 8 << 30
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with open(tmp_path / "m.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + size)
    report = scan(str(tmp_path / "m.safetensors"), limits=Limits(seconds=20, memory=512 << 20))
    assert report.verdict is Verdict.SAFE
    assert report.summary == ("Loading this builds 1 tensor (8.6 GB) and runs no code.",)
    assert report.files[0].pin.startswith("layout:")


def test_the_companions_of_old_joblib_files(tmp_path: Path) -> None:
    """Row 18: a companion beside the file is judged with it, one elsewhere is refused."""
    main = (
        b"\x80\x02cjoblib.numpy_pickle_compat\nNDArrayWrapper\n)\x81}(U\x08filenameU\x0cm.pkl_01.npy"
        b"U\x08subclasscnumpy\nndarray\nU\x0aallow_mmap\x88ub."
    )
    (tmp_path / "m.pkl").write_bytes(main)
    missing = scan(str(tmp_path / "m.pkl"))
    assert missing.verdict >= Verdict.UNVERIFIABLE
    np.save(tmp_path / "m.pkl_01.npy", np.arange(4))
    report = scan(str(tmp_path / "m.pkl"))
    assert report.contract.companions == ("m.pkl_01.npy",), report.findings
    assert not any(f.inert for f in report.files)
    np.save(tmp_path / "m.pkl_01.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    assert scan(str(tmp_path / "m.pkl")).verdict is Verdict.DANGER
    (tmp_path / "m.pkl").write_bytes(main.replace(b"U\x0cm.pkl_01.npy", b"U\x0c/tmp/abc.npy"))
    assert scan(str(tmp_path / "m.pkl")).verdict is Verdict.DANGER


def test_the_pin_changes_with_what_executes_and_with_the_layout(tmp_path: Path) -> None:
    small = Limits(whole=0)
    first, again = look(saved(TENSORS), limits=small), look(saved(TENSORS), limits=small)
    assert first.files[0].pin == again.files[0].pin
    assert first.artifact.digest == again.artifact.digest
    other = look(saved(OrderedDict(weight=torch.zeros(4, 3))), limits=small)
    assert other.files[0].pin != first.files[0].pin
    assert look(saved(TENSORS)).files[0].pin.startswith("sha256:")


def test_weights_only_is_told_apart() -> None:
    assert look(saved(TENSORS)).weights_only
    assert not look(saved({"x": Payload()})).weights_only
    assert not look(saved(torch.nn.Linear(1, 1))).weights_only


def test_a_file_that_changes_while_it_is_read_is_unverifiable(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(GOOD)
    with open_path(path) as opened:
        path.write_bytes(GOOD + b"\0")
        report = scan_opened(opened)
    assert report.verdict is Verdict.UNVERIFIABLE
    assert "source.changed" in rules(report)


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "weights.joblib", "a.npy", "model.safetensors"])
def test_text_under_a_models_name_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello world, this page was not found\n")
    report = scan(str(tmp_path / name))
    assert report.verdict is Verdict.UNVERIFIABLE


def test_a_pointer_is_not_the_file(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"
    (tmp_path / "pytorch_model.bin").write_text(pointer)
    report = scan(str(tmp_path / "pytorch_model.bin"))
    assert report.verdict is Verdict.UNVERIFIABLE
    assert [f.rule for f in report.findings] == ["format.pointer"]
