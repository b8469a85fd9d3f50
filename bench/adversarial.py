"""Attacks by the thousand: gadgets in every spelling and container, through every loader, against a guarded process.

    python -m bench.adversarial --cases 3000 --seed 7       # exit code 1 if a payload ran or an honest load failed

Four kinds of sight: nobody there (`headless`), a person who accepts all that is not shown as dangerous (`accepting`),
and, with that person, a scanner that takes everything for explained data (`blind`) or for objects that it merely does
not know (`short-sighted`). A payload that leaves anything in its folder has run. Which payloads run without a guard can
be tried first, each in a process of its own (`--prove`): the figures then say how many of the gadgets are real.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import datetime
import decimal
import functools
import gc
import io
import itertools
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.adversarial_folders import FOLDER_WAYS, FOLDERS
from bench.adversarial_gadgets import Gadget, gadgets
from bench.adversarial_opcodes import MANNERS, Spelling, names, spelled
from bench.adversarial_places import CONTAINERS, PLACES, WAYS

EVERYWHERE = {**CONTAINERS, **FOLDERS}
ALL_WAYS = {**WAYS, **FOLDER_WAYS}
IN_FOLDERS = 0.2
"""Share of the random attacks that lie in a repository or under another loader's name."""
SIGHTS = ("headless", "accepting", "blind", "short-sighted")
VERBS = ("build", "mutated", "named", "newobj", "reduce")


@dataclass(frozen=True)
class Case:
    """One attack."""

    gadget: Gadget
    spelling: Spelling
    container: str
    way: str
    place: str
    sight: str

    def __str__(self) -> str:
        how = f"protocol {self.spelling.protocol}, {self.spelling.manner}"
        return f"{self.gadget.name} ({how}) in {self.container} by {self.way}, {self.place}, {self.sight}"


@dataclass
class Score:
    """What came of all the attacks."""

    ran: list[str] = dataclasses.field(default_factory=list)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failed_honest: list[str] = dataclasses.field(default_factory=list)
    honest: int = 0


def cases(found: list[Gadget], count: int, dice: random.Random, most_plain: int | None) -> Iterator[Case]:
    """`count` attacks: every gadget by the plainest ways first, then at random over everything."""
    plain = Spelling(4, "plain")
    first = [
        Case(g, plain, "pickle", "pickle.loads", "main", sight)
        for sight in ("short-sighted", "accepting")
        for g in found
    ]
    first = first[: count if most_plain is None else min(count, most_plain)]
    yield from first
    for _ in range(count - len(first)):
        container = dice.choice(list(FOLDERS if dice.random() < IN_FOLDERS else CONTAINERS))
        yield Case(
            dice.choice(found),
            Spelling(dice.randrange(6), dice.choice(MANNERS)),
            container,
            dice.choice(list(ALL_WAYS[container])),
            dice.choice(list(PLACES)),
            dice.choice(SIGHTS),
        )


class Lab:
    """A folder for the attacks, and the seams of the guard through which sight is given and taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.drop.mkdir()
        (folder / "script.py").write_text(f"open({str(self.drop / 'marker')!r}, 'w').close()\n")
        self.gadgets = gadgets(self.drop)

    def attack(self, case: Case, score: Score) -> None:
        """Try one; whatever lies in the folder afterwards was written by the payload."""
        try:
            program = spelled(case.gadget.payload, case.spelling)
            path = EVERYWHERE[case.container](program, self.folder)
        except (TypeError, ValueError, UnicodeError):
            score.outcomes["not spelled"] += 1
            return
        way = PLACES[case.place](ALL_WAYS[case.container][case.way])
        with seeing(case), silent():
            outcome = _outcome(way, path)
            gc.collect(0)
        score.outcomes[outcome] += 1
        if any(self.drop.iterdir()):
            score.ran.append(str(case))
            print(f"ran: {case}", file=sys.__stderr__, flush=True)
            self.clean()

    def clean(self) -> None:
        shutil.rmtree(self.drop)
        self.drop.mkdir()

    def proven(self) -> list[str]:
        """Names of the gadgets that run where nothing guards, each tried in a forked process."""
        return [g.name for g in self.gadgets if self._runs(g)]

    def open_ways(self) -> list[str]:
        """`container by way` of those through which a plain payload runs where nothing guards."""
        plain = next(g for g in self.gadgets if g.name == "os.system")
        found = []
        for container, ways in ALL_WAYS.items():
            path = EVERYWHERE[container](spelled(plain.payload, Spelling(2, "plain")), self.folder)
            found += [
                f"{container} by {name}" for name, way in ways.items() if self._marks(functools.partial(way, path), 60)
            ]
        return found

    def _runs(self, gadget: Gadget) -> bool:
        return self._marks(lambda: pickle.loads(spelled(gadget.payload, Spelling(4, "plain"))), 4)

    def _marks(self, act: Callable[[], Any], seconds: int) -> bool:
        """Whether `act` leaves anything in the folder, tried in a forked process."""
        child = os.fork()
        if child == 0:
            signal.alarm(seconds)
            with contextlib.suppress(BaseException), silent():
                act()
                gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        left = any(self.drop.iterdir())
        self.clean()
        return left


def _outcome(way: Callable[[Path], Any], path: Path) -> str:
    from nbguard.errors import LoadBlocked

    try:
        way(path)
    except LoadBlocked as stopped:
        return type(stopped).__name__
    except Exception:  # noqa: BLE001 - an attack may end in any error; what counts is what it left behind
        return "other error"
    except BaseException as odd:  # noqa: BLE001 - SystemExit of a payload's own
        return f"odd: {type(odd).__name__}"
    return "loaded"


@contextlib.contextmanager
def seeing(case: Case | None) -> Iterator[None]:
    """The guard with the sight of a case; None for a person with an honest scanner."""
    from nbguard.gate.answer import Answer
    from nbguard.hooks import walk
    from nbguard.report.model import Verdict

    def ask(report: Any, decision: Any, request: Any) -> Answer:
        return Answer("refuse" if report.verdict is Verdict.DANGER else "once", "someone", "", "widget")

    seams = {"ask": ask, "tell": lambda *a: None, "_somebody_there": lambda: case is None or case.sight != "headless"}
    if case is not None and case.sight in SIGHTS[2:]:
        honest = walk.scan
        listed, level, verdict = names(case.gadget.payload), *_BLINDNESS[case.sight]
        seams["scan"] = lambda request, opened: blinded(honest(request, opened), listed, level, Verdict[verdict])
    before = {name: getattr(walk, name) for name in seams}
    for name, seam in seams.items():
        setattr(walk, name, seam)
    try:
        yield
    finally:
        for name, seam in before.items():
            setattr(walk, name, seam)


_BLINDNESS = {"blind": ("data", "SAFE"), "short-sighted": ("unknown", "REVIEW")}


def blinded(report: Any, listed: set[tuple[str, str]], level: str, verdict: Any) -> Any:
    """The report of a scanner that takes every name, used in every way, for something of this level."""
    from nbguard.hooks.walls.permissions import mapped
    from nbguard.report.model import GlobalUse

    uses = {(g.module, g.name): GlobalUse(g.module, g.name, g.raw, VERBS, level) for g in report.contract.globals}
    for name in listed:
        uses.setdefault(mapped(*name), GlobalUse(*mapped(*name), (name,), VERBS, level))
    contract = dataclasses.replace(report.contract, globals=tuple(uses.values()), effects=())
    files = tuple(dataclasses.replace(f, verdict=verdict, inert=False) for f in report.files)
    return dataclasses.replace(report, contract=contract, files=files, findings=())


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """What payloads and loaders print is not for the reader."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def honest_files(folder: Path) -> list[tuple[str, Path, str, Callable[[Path], Any]]]:
    """(name, file, way, loader) of honest loads, made by the libraries' own writers."""
    folder.mkdir()
    data = {"a": [1, 2.5, "x", b"y", None], "day": datetime.date(2020, 1, 2), "d": decimal.Decimal("1.5"), "s": {1, 2}}
    made: list[tuple[str, str, Path]] = []
    for protocol in range(6):
        path = folder / f"data{protocol}.pkl"
        path.write_bytes(pickle.dumps(collections.OrderedDict(data), protocol))
        made.append((f"data, protocol {protocol}", "pickle", path))
    made += [*_of_numpy(folder), *_of_torch(folder), *_of_pandas(folder), *_of_joblib(folder)]
    odd = ("two faces", "torch.load two faces", "two loads", "one way", "Python subclass", "pickle.load raw names",
           "subclass", "subclass with find_class", "dill.load", "cloudpickle.load")  # fmt: skip
    return [
        (f"{name} by {way}", path, way, load)
        for name, container, path in made
        for way, load in WAYS[container].items()
        if way not in odd and not way.startswith("bound early")
    ]


def _of_numpy(folder: Path) -> Iterator[tuple[str, str, Path]]:
    import numpy

    numpy.save(folder / "o.npy", numpy.array([1, "x", None], dtype=object))
    numpy.savez(folder / "o.npz", a=numpy.arange(4), b=numpy.array(["x", {}], dtype=object))
    yield from (("object array", "npy", folder / "o.npy"), ("archive of arrays", "npz", folder / "o.npz"))


def _of_torch(folder: Path) -> Iterator[tuple[str, str, Path]]:
    import torch

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    for name, value in (("module", model), ("state", model.state_dict()), ("mixed", {"t": torch.ones(2), "n": [1]})):
        torch.save(value, folder / f"{name}.pt")
        yield f"torch {name}", "torch zip", folder / f"{name}.pt"
        if name == "module":
            continue  # the legacy format carries its source, which is refused by design
        torch.save(value, folder / f"{name}.old.pt", _use_new_zipfile_serialization=False)
        yield f"torch {name}, legacy", "torch legacy", folder / f"{name}.old.pt"


def _of_pandas(folder: Path) -> Iterator[tuple[str, str, Path]]:
    import pandas

    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": pandas.to_datetime(["2020-01-01", "2020-01-02"])})
    for end in ("pkl", "pkl.gz", "pkl.bz2", "pkl.xz", "pkl.zip", "pkl.tar"):
        frame.to_pickle(folder / f"frame.{end}")
        yield f"frame.{end}", "pandas gzip", folder / f"frame.{end}"


def _of_joblib(folder: Path) -> Iterator[tuple[str, str, Path]]:
    import joblib
    import numpy
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = numpy.arange(12.0).reshape(6, 2)
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(rows, rows[:, 0])
    for method in (None, "zlib", "gzip", "bz2", "xz", "lzma", "lz4"):
        path = folder / f"pipeline.{method}.joblib"
        joblib.dump({"model": pipeline, "rows": rows}, path, compress=(method, 3) if method else 0)
        yield f"pipeline, {method}", "joblib", path


def try_honest(loads: list[tuple[str, Path, str, Callable[[Path], Any]]]) -> set[str]:
    """Names of the loads that work now."""
    worked = set()
    for name, path, _, load in loads:
        with seeing(None), silent(), contextlib.suppress(Exception):
            load(path)
            worked.add(name)
    return worked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this long, with the figures so far")
    parser.add_argument(
        "--plain", type=int, default=None, help="at most this many of the plain attacks that come first"
    )
    parser.add_argument("--only", default="", help="gadgets with this in their name")
    parser.add_argument("--prove", action="store_true", help="try first which gadgets run without a guard")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nbguard-adversarial-") as place:
        folder = Path(place)
        os.environ.update(
            NBGUARD_DATA_DIR=str(folder / "data"), NBGUARD_CONFIG=str(folder / "none.toml"), HF_HUB_OFFLINE="1"
        )
        (folder / "none.toml").touch()
        (folder / "work").mkdir()
        os.chdir(folder / "work")
        return _report(Lab(folder), options)


def _report(lab: Lab, options: argparse.Namespace) -> int:
    from nbguard import hooks

    began, score, dice = time.monotonic(), Score(), random.Random(options.seed)
    found = [g for g in lab.gadgets if options.only in g.name]
    loads = honest_files(lab.folder / "honest")
    worked = try_honest(loads)
    proven = lab.proven() if options.prove else []
    ways = lab.open_ways() if options.prove else []
    hooks.install()
    try:
        score.honest = len(worked)
        score.failed_honest = sorted(worked - try_honest(loads))
        for number, case in enumerate(cases(found, options.cases, dice, options.plain)):
            if time.monotonic() - began > options.seconds:
                break
            lab.attack(case, score)
            if number % 500 == 499:
                print(f"{number + 1} attacks, {len(score.ran)} ran", file=sys.stderr, flush=True)
    finally:
        hooks.uninstall()
    figures = {
        "gadgets": len(found), "proven": len(proven), "ways": sum(map(len, ALL_WAYS.values())),
        "ways_proven": len(ways), "attacks": sum(score.outcomes.values()), "ran": len(score.ran),
        "outcomes": dict(score.outcomes.most_common()), "honest": score.honest,
        "honest_failed": len(score.failed_honest), "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    for line in itertools.chain((f"RAN: {c}" for c in score.ran), (f"FAILED: {n}" for n in score.failed_honest)):
        print(line)
    if options.json:
        options.json.write_text(
            json.dumps({**figures, "which": score.ran, "proven_names": proven, "proven_ways": ways}, indent=1)
        )
    return 1 if score.ran or score.failed_honest else 0


if __name__ == "__main__":
    sys.exit(main())
