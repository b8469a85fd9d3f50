"""Fuzz every reader and scanner, guided by coverage (atheris), for as long as is asked.

    python -m fuzz.run                          # ten minutes over all families
    python -m fuzz.run --seconds 3600 --only gguf onnx
    python -m fuzz.run --plain                  # without atheris: changes by seed, as the tests do, but more of them

A family of samples (`tests/support/sample_set`) is one target; each runs in a process of its own, with a limit on
memory and on the time of one input. What breaks is written to `fuzz/found/` and stays there as a test. The exit code is
1 where something broke.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from fuzz.mutate import mutations
from fuzz.seeds import FOUND, ROOT, seeds

SLOWEST = 20
"""Seconds that one input may take."""
MEMORY = 2_048
"""MB that the process may take, Python and the instrumentation included."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="in all, shared by the families (default: 600)")
    parser.add_argument("--only", nargs="*", metavar="FAMILY")
    parser.add_argument("--plain", action="store_true", help="changes by seed instead of atheris")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for --plain (default: the time)")
    parser.add_argument("--family", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.family:
        return _one(options.family, options.corpus, options.seconds)
    wanted = frozenset(options.only) if options.only else None
    gathered: dict[str, list[tuple[str, bytes]]] = {}
    for seed in seeds(wanted):
        gathered.setdefault(seed.family, []).append((seed.path, seed.data))
    if options.plain:
        return _plain(gathered, options.seconds, options.seed)
    return _guided(gathered, options.seconds)


def _plain(gathered: dict[str, list[tuple[str, bytes]]], seconds: float, seed: int) -> int:
    from fuzz.target import look

    rng, broken, tried = random.Random(seed), 0, 0
    print(f"seed {seed}")
    end = time.monotonic() + seconds
    every = [(family, path, data) for family, files in gathered.items() for path, data in files]
    while time.monotonic() < end:
        family, path, data = rng.choice(every)
        for changed in mutations(data, rng, 10):
            begun = time.monotonic()
            try:
                look(changed, path)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what we are looking for
                broken += 1
                _keep(family, type(error).__name__.lower(), path, changed)
                print(f"{family}: {type(error).__name__}: {error}")
            if time.monotonic() - begun > SLOWEST:
                broken += 1
                _keep(family, "slow", path, changed)
                print(f"{family}: {time.monotonic() - begun:.0f} s")
            tried += 1
    print(f"{tried} inputs, {broken} broke something")
    return 1 if broken else 0


def _guided(gathered: dict[str, list[tuple[str, bytes]]], seconds: float) -> int:
    broken = []
    each = max(5.0, seconds / max(1, len(gathered)))
    for family, files in sorted(gathered.items()):
        with tempfile.TemporaryDirectory(prefix="nbguard-fuzz-") as temporary:
            corpus = Path(temporary) / "corpus"
            corpus.mkdir()
            names = sorted({path for path, _ in files})[:256]
            for number, (path, data) in enumerate(files):
                if path in names:
                    (corpus / f"{number:04}").write_bytes(bytes([names.index(path)]) + data)
            (corpus.parent / "names").write_text("\n".join(names), encoding="utf-8")
            command = [
                sys.executable, "-m", "fuzz.run", "--family", family, "--corpus", str(corpus), "--seconds", str(each),
            ]  # fmt: skip
            done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            told = dict(
                line.removeprefix("stat::").split(":", 1) for line in done.stderr.splitlines() if "stat::" in line
            )
            runs, peak = (told.get(key, "?").strip() for key in ("number_of_executed_units", "peak_rss_mb"))
            print(f"{family:16} {len(files):4} seeds {runs:>9} inputs {peak:>5} MB", flush=True)
            for crash in sorted(p for kind in ("crash", "timeout", "oom") for p in Path(temporary).glob(f"{kind}-*")):
                data = crash.read_bytes()
                what = crash.name.partition("-")[0]
                _keep(family, what, names[data[0] % len(names)] if data else names[0], data[1:])
                broken.append(f"{family}: {what}\n{done.stdout[-3000:]}")
            if done.returncode and not broken:
                broken.append(f"{family}: the process ended with {done.returncode}\n{done.stderr[-3000:]}")
    for text in broken:
        print(text)
    return 1 if broken else 0


def _one(family: str, corpus: Path, seconds: float) -> int:
    """Run atheris over one family; does not come back."""
    import atheris

    with atheris.instrument_imports(include=["nbguard.formats", "nbguard.scanners"]):
        from fuzz.target import look
    names = (corpus.parent / "names").read_text(encoding="utf-8").split("\n")

    def once(data: bytes) -> None:
        if data:
            look(bytes(data[1:]), names[data[0] % len(names)])

    atheris.Setup(
        [
            f"nbguard-{family}", str(corpus), f"-max_total_time={int(seconds)}", f"-timeout={SLOWEST}",
            f"-rss_limit_mb={MEMORY}", "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/", "-max_len=1048576",
        ],
        once,
    )  # fmt: skip
    atheris.Fuzz()
    return 0


def _keep(family: str, what: str, path: str, data: bytes) -> None:
    """Write the input where the tests find it; the name of the file that it was scanned under is kept."""
    FOUND.mkdir(exist_ok=True)
    name = path.rpartition("/")[2]
    (FOUND / f"{family}--{what}-{zlib.crc32(data):08x}--{name}").write_bytes(data)


if __name__ == "__main__":
    sys.exit(main())
