"""Fuzz one family without instrumentation: changes by seed, as the tests do, but as many as there is time for.

    python -m fuzz.plain FAMILY SEEDS WORK SECONDS SEED      # started by fuzz.run --plain, once for each family

Memory of the process is limited, so that a memory bomb shows. The input being tried lies in `WORK/current`, so that it
is known after a crash of the whole process. The last line of the output is JSON: how many inputs, the slowest, the most
memory.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from fuzz.mutate import flooded, mutations
from fuzz.seeds import FOUND, Seed, stored

SLOWEST = 5.0
"""Seconds of processor time that one input may take."""
MEMORY = 2 << 30
"""Bytes of address space that the process may have."""
GROWTH = 512 << 20
"""Bytes that one input, which is a megabyte or so, may make the process grow by at its peak."""

FLOODS = 0.1
"""How often, instead of ten small changes, one piece is repeated until the input is long."""

peak = 0
"""Bytes by which an input made the process grow, at most so far."""


class Late(BaseException):
    """An input takes too long. No Exception, so that no reader takes it for one of its own."""


class Greedy(AssertionError):  # noqa: N818 - as Broken
    """An input takes too much memory."""


@contextlib.contextmanager
def limited(seconds: float = SLOWEST) -> Iterator[None]:
    """Raise Late when the processor time is used up, Greedy when memory grew too much."""

    def late(*_: object) -> None:
        raise Late(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, late)
    begun = _resident(reset=True)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    global peak
    grown = _resident() - begun
    peak = max(peak, grown)
    if grown > GROWTH:
        raise Greedy(f"{grown >> 20} MB")


def _resident(reset: bool = False) -> int:
    """Bytes: the most that was resident since the last reset; now, with `reset`. 0 where the system does not say."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def attempt(data: bytes, seed: Seed) -> str:
    """What breaks: the error's name and text, or nothing."""
    from fuzz.target import look

    try:
        with limited():
            look(data, seed.path, seed.companions)
    except Late as late:
        return f"slow: {late}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we are looking for
        return f"{type(error).__name__.lower()}: {error}"
    return ""


def smallest(data: bytes, seed: Seed, told: str, seconds: float = 40.0) -> bytes:
    """A shorter input that breaks in the same way: pieces are left out, large ones first, while there is time."""
    end, kind = time.monotonic() + seconds, told[:40]
    piece = max(1, len(data) // 2)
    while piece:
        at = 0
        while at < len(data):
            if time.monotonic() > end:
                return data
            shorter = data[:at] + data[at + piece :]
            if attempt(shorter, seed)[:40] == kind:
                data = shorter
            else:
                at += piece
        piece //= 2
    return data


def keep(family: str, what: str, path: str, data: bytes) -> None:
    """Write the input where the tests find it; the name of the file that it was scanned under is kept."""
    FOUND.mkdir(exist_ok=True)
    name = path.rpartition("/")[2]
    (FOUND / f"{family}--{what}-{zlib.crc32(data):08x}--{name}").write_bytes(data)


def main(family: str, folder: str, work: str, seconds: str, seed: str) -> int:
    import fuzz.target  # noqa: F401 - before memory is limited

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rng, every = random.Random(f"{seed} {family}"), stored(Path(folder), family)
    current, known = Path(work) / "current", set[str]()
    tried, slowest, slow_one, end = 0, 0.0, "", time.monotonic() + float(seconds)
    for one in every:
        tried += _one(one.data, one, known, current)
    while time.monotonic() < end:
        one = rng.choice(every)
        some = [flooded(one.data, rng)] if rng.random() < FLOODS else mutations(one.data, rng, 10)
        for changed in some:
            begun = time.process_time()
            _one(changed, one, known, current)
            tried += 1
            took = time.process_time() - begun
            if took > slowest and took < SLOWEST:
                slowest, slow_one = took, f"{one.name} {one.path}"
                (Path(folder) / f"{family}.slowest").write_bytes(changed)
    told = {"tried": tried, "slowest": round(slowest, 2), "which": slow_one, "mb": peak >> 20, "broken": len(known)}
    print(json.dumps(told))
    return 1 if known else 0


def _one(data: bytes, seed: Seed, known: set[str], current: Path) -> int:
    current.write_bytes(seed.path.encode() + b"\n" + data)
    told = attempt(data, seed)
    if told and told[:60] not in known:
        known.add(told[:60])
        print(f"{seed.name} {seed.path}: {told[:300]}", flush=True)
        keep(seed.family, told.partition(":")[0], seed.path, smallest(data, seed, told))
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
