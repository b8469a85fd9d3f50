"""Lists of packages to install: whatever would come from elsewhere than the index that a person set.

facts = SCANNER.scan(job)

No loader of models installs packages by itself; people, services and MLflow do with the list that comes with the model,
and installing a package runs its code.
"""

from __future__ import annotations

import re

from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

MAX_LIST = 1 << 20
MOST = 40
_NAME = re.compile(
    r"(?:requirements?|constraints?)(?:[-_.]\w+)*\.(?:txt|in)\Z|requirements/[\w.-]+\.(?:txt|in)\Z", re.I
)
_URL = re.compile(r"(?:^|\s|@\s*)((?:git|hg|svn|bzr)\+\S+|(?:https?|ftp|file)://\S+)", re.I)
_PATH = re.compile(r"(?:\.{1,2}/|/|~/|[A-Za-z]:[\\/])|.*\.(?:whl|zip|tar\.gz|tgz)\Z")


class RequirementsScanner:
    name = "requirements"

    def recognise(self, job: Job) -> bool:
        return _NAME.search(job.name.lower()) is not None and b"\0" not in job.head and 0 < job.size <= MAX_LIST

    def scan(self, job: Job) -> Facts:
        facts = plain(job, "requirements")
        text = job.view.read(0, job.size).decode("utf-8", "replace").replace("\\\n", " ")
        for number, line in enumerate(text.splitlines(), 1):
            what = _elsewhere(line.strip())
            if what and len(facts.findings) < MOST:
                facts.add(
                    Finding(
                        "requirements.elsewhere",
                        Severity.MEDIUM,
                        job.path,
                        f"{job.location} line {number}".strip(),
                        f"It {what}.",
                        evidence=line.strip()[:300],
                        meaning="Installing a package runs its code. Loading the model does not install anything.",
                        remedy="Install what it names from the index that you use, or leave this line out.",
                    ),
                    Verdict.REVIEW,
                )
        return facts


SCANNER = RequirementsScanner()
FORMATS = (
    Format(
        "requirements",
        "Requirements of pip",
        ("requirements.txt", "constraints.txt"),
        "its name",
        "options and addresses that take packages from elsewhere than the index that a person set",
        "the packages themselves. No loader installs them",
        "inert beside a model; *safe*; *review* with packages from elsewhere",
        untested="people write it",
    ),
)


def _elsewhere(line: str) -> str:
    """What the line does that is not installing a named package from the usual index; empty where nothing."""
    if not line or line.startswith("#"):
        return ""
    line = re.sub(r"\s#.*", "", line)
    option = re.split(r"[\s=]", line, maxsplit=1)[0]
    if option in table("scripts")["requirements"]["elsewhere"]:
        return f"changes where packages come from ({option})"
    if option in ("-e", "--editable"):
        return "installs a folder that comes with it, which runs the code in there"
    if _URL.search(line):
        return "installs a package from an address of its own"
    if not line.startswith("-") and _PATH.match(line):
        return "installs a file that comes with it"
    return ""
