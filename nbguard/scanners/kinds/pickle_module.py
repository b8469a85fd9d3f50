"""`pickle_module_info.txt` of MLflow's PyTorch models: the module whose machine reads the pickle beside it.

facts = SCANNER.scan(job)

MLflow imports the module of that name and hands it to `torch.load` as `pickle_module`. Source:
`mlflow/pytorch/__init__.py` (`_load_model`).
"""

from __future__ import annotations

import re
import sys

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.facts import Facts
from nbguard.scanners.mlmodel import PICKLE_MODULE
from nbguard.scanners.tables import table

MAX_BYTES = 4096
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


class PickleModuleScanner:
    name = "mlflow-pickle-module"

    def recognise(self, job: Job) -> bool:
        return job.name.rsplit("/", 1)[-1] == PICKLE_MODULE

    def scan(self, job: Job) -> Facts:
        text = job.view.read(0, MAX_BYTES + 1)
        if len(text) > MAX_BYTES or not _DOTTED.fullmatch(text.decode("latin-1").strip()):
            return unverifiable(
                job, self.name, "mlmodel.pickle-module", "It holds something else than a module's name."
            )
        facts = plain(job, self.name)
        module = text.decode("latin-1").strip()
        if module not in table("frameworks")["loaders"]["pickle_modules"]:
            own = module.partition(".")[0] in sys.stdlib_module_names
            facts.add(
                Finding(
                    "mlmodel.pickle-module",
                    Severity.CRITICAL if own else Severity.HIGH,
                    job.path,
                    job.location,
                    f"It has MLflow import {module[:120]} to read the pickle.",
                    evidence=module[:300],
                    meaning="Importing a module runs its code, and what it calls a pickle is then up to it.",
                    remedy="Do not load it." if own else "Read that module before you accept.",
                ),
                Verdict.DANGER if own else Verdict.REVIEW,
            )
        return facts


SCANNER = PickleModuleScanner()

FORMATS = (
    Format(
        "mlflow-pickle-module",
        "the module that MLflow reads a PyTorch model with",
        (PICKLE_MODULE,),
        "By its name, as MLflow does.",
        "The one name in it.",
        "Nothing else is in it.",
        "*safe* for MLflow's own, `pickle`, `cloudpickle` and `dill`; *review* for others; *danger* for other modules"
        " of Python itself; *unverifiable* for anything else than a name",
    ),
)
