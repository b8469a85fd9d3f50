"""`%load_ext nbguard` in a fresh IPython, beside IPython alone.

    python -m bench.run load_ext

Processes take turns; the difference is that of their whole lives, and the magic is timed inside too.
"""

from __future__ import annotations

from bench.harness import Row, Workplace, interleave, python

GOAL_MS = 150
HEAVY = (
    "torch", "transformers", "fickling", "sqlalchemy", "pandas", "joblib", "numpy", "rich", "ipywidgets",
    "huggingface_hub", "sklearn", "safetensors", "sqlite3",
)  # fmt: skip
REQUIRED_ABSENT = frozenset(HEAVY) - {"sqlite3", "safetensors", "sklearn"}
CHILD = """
import json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
begun = time.perf_counter()
if sys.argv[1] == "on":
    shell.run_line_magic("load_ext", "nbguard")
    assert "safemodel" in shell.magics_manager.magics["line"], "the extension did not load"
spent = time.perf_counter() - begun
heavy = [name for name in sys.argv[2].split() if name in sys.modules]
print(json.dumps({"spent": spent, "heavy": heavy, "modules": len(set(sys.modules) - before)}))
"""


def measure(place: Workplace) -> list[Row]:
    alone, with_it = interleave(
        [python(CHILD, side, " ".join(HEAVY)) for side in ("off", "on")], place, repeats=max(9, 3 * place.repeats)
    )
    heavy = sorted({name for output in with_it.outputs for name in output["heavy"]})
    over = (with_it.wall - alone.wall) * 1000
    return [
        Row("load_ext", "IPython alone, whole process", alone.wall * 1000, "ms"),
        Row(
            "load_ext",
            "over IPython alone",
            over,
            "ms",
            ratio=with_it.wall / alone.wall,
            goal=f"< {GOAL_MS} ms",
            met=over < GOAL_MS,
            note=f"{with_it.of('modules'):.0f} modules",
        ),
        Row("load_ext", "the magic itself", with_it.of("spent") * 1000, "ms"),
        Row(
            "load_ext",
            "heavy modules imported",
            len(heavy),
            "",
            goal="none",
            met=not REQUIRED_ABSENT & set(heavy),
            note=", ".join(heavy),
        ),
    ]
