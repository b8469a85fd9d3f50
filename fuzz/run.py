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
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.plain import keep
from fuzz.seeds import ROOT, Seed, families, stored

SLOWEST = 20
"""Seconds that one input may take under instrumentation."""
MEMORY = 2_048
"""MB that the process may take, Python and the instrumentation included."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="in all, shared by the families (default: 600)")
    parser.add_argument("--only", nargs="*", metavar="FAMILY")
    parser.add_argument("--plain", action="store_true", help="changes by seed instead of atheris")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="for --plain (default: the time)")
    parser.add_argument("--seeds", type=Path, metavar="FOLDER", help="keep what was gathered here, for the next time")
    parser.add_argument("--family", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.family:
        return _guided(options.family, options.corpus, options.seconds)
    unknown = set(options.only or ()) - set(families())
    if unknown:
        parser.error(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(families())}")
    wanted = sorted(options.only) if options.only else families()
    broken = []
    with tempfile.TemporaryDirectory(prefix="nbguard-fuzz-") as temporary:
        folder = (options.seeds or Path(temporary) / "seeds").resolve()
        command = [sys.executable, "-m", "fuzz.seeds", str(folder), *wanted]
        subprocess.run(command, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        for family in wanted:
            every = stored(folder, family)
            work = Path(temporary) / family
            work.mkdir()
            each = max(1.0 if options.plain else 5.0, options.seconds / len(wanted))
            if not every:
                continue
            if options.plain:
                broken += _plain(family, every, folder, work, each, options.seed)
            else:
                broken += _with_atheris(family, every, work, each)
    for text in broken:
        print(text)
    return 1 if broken else 0


def _plain(family: str, every: list[Seed], folder: Path, work: Path, seconds: float, seed: int) -> list[str]:
    command = [sys.executable, "-m", "fuzz.plain", family, str(folder), str(work), str(seconds), str(seed)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    *told, last = done.stdout.splitlines() or [""]
    if not last.startswith("{"):
        path, _, data = (work / "current").read_bytes().partition(b"\n")
        keep(family, "crash", path.decode(), data)
        return [f"{family}: the process ended with {done.returncode}\n{done.stderr[-3000:]}"]
    sums = json.loads(last)
    print(
        f"{family:16} {len(every):4} seeds {sums['tried']:>9} inputs {sums['mb']:>5} MB"
        f"  slowest {sums['slowest']:5.2f} s ({sums['which']})",
        flush=True,
    )
    return [f"{family}: {line}" for line in told]


def _with_atheris(family: str, every: list[Seed], work: Path, seconds: float) -> list[str]:
    corpus = work / "corpus"
    corpus.mkdir()
    names = sorted({seed.path for seed in every})[:256]
    for number, seed in enumerate(every):
        if seed.path in names:
            (corpus / f"{number:04}").write_bytes(bytes([names.index(seed.path)]) + seed.data)
    (work / "names").write_text("\n".join(names), encoding="utf-8")
    command = [
        sys.executable, "-m", "fuzz.run", "--family", family, "--corpus", str(corpus), "--seconds", str(seconds),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    told = dict(line.removeprefix("stat::").split(":", 1) for line in done.stderr.splitlines() if "stat::" in line)
    runs, peak = (told.get(key, "?").strip() for key in ("number_of_executed_units", "peak_rss_mb"))
    print(f"{family:16} {len(every):4} seeds {runs:>9} inputs {peak:>5} MB", flush=True)
    broken = []
    for crash in sorted(p for kind in ("crash", "timeout", "oom") for p in work.glob(f"{kind}-*")):
        data = crash.read_bytes()
        what = crash.name.partition("-")[0]
        keep(family, what, names[data[0] % len(names)] if data else names[0], data[1:])
        broken.append(f"{family}: {what}\n{done.stdout[-3000:]}")
    if done.returncode and not broken:
        broken.append(f"{family}: the process ended with {done.returncode}\n{done.stderr[-3000:]}")
    return broken


def _guided(family: str, corpus: Path, seconds: float) -> int:
    """Run atheris over one family; does not come back."""
    import atheris

    with atheris.instrument_imports(include=["nbguard.formats", "nbguard.scanners"]):
        from fuzz.target import look
        from nbguard.formats.pickle_run import address_space
    # A limit, as the worker has one, that is libFuzzer's to tell of: what depends on there being one has to work.
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (2 * MEMORY << 20), resource.RLIM_INFINITY))
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


if __name__ == "__main__":
    sys.exit(main())
