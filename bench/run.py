"""Run the measurements and print a table.

    python -m bench.run                     # all of them; a quarter of an hour, some gigabytes in the temporary folder
    python -m bench.run load_ext training   # some
    python -m bench.run --quick             # small files, few repeats: whether they run at all

Results go to `bench/results/` as JSON, with what they were measured on. The exit status is 0 whatever the figures say,
and 2 where a measurement could not be made.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.harness import ROOT, BenchError, Row, Workplace, as_json, table

ALL = (
    "load_ext",
    "torch_zip_scan",
    "many_pickles",
    "object_pickle",
    "header_only",
    "training",
    "honest_libraries",
    "approved_load",
    "hub_load",
)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        cpu = platform.processor()
    versions = {}
    for package in ("torch", "numpy", "ipython", "picklescan", "modelscan", "modelaudit"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit.stdout.strip(),
        "load_average": os.getloadavg()[0],
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ALL)}")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count, after one that does not (default 5)")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the sizes, two rounds")
    parser.add_argument("--folder", type=Path, help="where the large files are made (default: the temporary folder)")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(ALL))
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}")
    compileall.compile_dir(ROOT / "nbguard", quiet=1)  # as an installed package is
    rows: list[Row] = []
    failures = []
    begun = datetime.datetime.now(datetime.UTC)
    for name in chosen.names or ALL:
        print(f"{name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="nbguard-bench-", dir=chosen.folder) as folder:
            place = Workplace(Path(folder), 2 if chosen.quick else chosen.repeats, 0.02 if chosen.quick else 1.0)
            try:
                rows += importlib.import_module(f"bench.{name}").measure(place)
            except BenchError as problem:
                failures.append(name)
                print(f"{name} could not be measured: {problem}", file=sys.stderr)
    print(table(rows))
    results = ROOT / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    stem = "quick" if chosen.quick else "-".join(chosen.names) or "all"
    out = results / f"{begun:%Y%m%dT%H%M%SZ}-{stem}.json"
    document = {"when": begun.isoformat(), "machine": machine(), "failures": failures, "rows": as_json(rows)}
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\n{out.relative_to(ROOT)}", file=sys.stderr)
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
