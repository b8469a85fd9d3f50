"""Write the pinned requirement files from what is installed in the environment that runs this.

    .venv/bin/python tools/pin.py            # after trying out newer versions; then read `git diff requirements/`

Every file holds the full dependency closure of its roots at exact versions, so that two machines get the same
packages. `torch` stands in a file of its own and is installed first and alone: whoever points pip at an index of CPU
builds does it for that one package.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TORCH = ("torch",)
SPELLED = {
    # the wheels without GPU libraries exist for Linux and Windows; elsewhere the plain package has none either
    "xgboost-cpu": (
        'xgboost-cpu=={v} ; sys_platform != "darwin"',
        'xgboost=={v} ; sys_platform == "darwin"',
    ),
    "tensorflow-cpu": ('tensorflow-cpu=={v} ; sys_platform == "linux" and platform_machine == "x86_64"',),
    "ai-edge-litert": ('ai-edge-litert=={v} ; sys_platform == "linux" and platform_machine == "x86_64"',),
    "backports-zstd": ('backports-zstd=={v} ; python_version < "3.14"',),
    "openvino": ('openvino=={v} ; sys_platform != "win32"',),
    "pexpect": ('pexpect=={v} ; sys_platform != "win32"',),
    "ptyprocess": ('ptyprocess=={v} ; os_name != "nt"',),
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(roots: tuple[str, ...]) -> dict[str, str]:
    """Canonical name → installed version, for `roots` and all they need here. Raises PackageNotFoundError."""
    seen: dict[str, set[str]] = {}
    versions: dict[str, str] = {}
    todo = [wanted for wanted in map(Requirement, roots) if wanted.marker is None or wanted.marker.evaluate()]
    while todo:
        wanted = todo.pop()
        name = canonical(wanted.name)
        extras = {""} | wanted.extras
        if name in seen and extras <= seen[name]:
            continue
        seen.setdefault(name, set()).update(extras)
        found = metadata.distribution(wanted.name)
        versions[name] = found.version.partition("+")[0]
        for line in found.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in seen[name]):
                todo.append(needed)
    return versions


def write(name: str, why: str, versions: dict[str, str]) -> None:
    lines = [f"# {why}", "# Written by tools/pin.py; the roots are in pyproject.toml."]
    for package, version in sorted(versions.items()):
        lines += [line.format(v=version) for line in SPELLED.get(package, (f"{package}=={{v}}",))]
    (ROOT / "requirements" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime = closure(tuple(project["dependencies"]))
    torch = closure(TORCH)
    dev = closure(tuple(project["optional-dependencies"]["dev"]))
    write("torch.txt", "PyTorch alone, installed first.", {"torch": torch["torch"]})
    write("runtime.txt", "What nbguard itself needs.", runtime)
    dev = {k: v for k, v in {**torch, **dev}.items() if k not in runtime and k != "torch"}
    write("dev.txt", "What the demo, the tests and the checks need on top.", dev)
    alone = {w: metadata.version(w) for w in (Requirement(r).name for r in project["optional-dependencies"]["alone"])}
    write("alone.txt", "Installed without what they ask for; see pyproject.toml.", alone)
    try:
        write("fuzz.txt", "For `make fuzz` only.", closure(tuple(project["optional-dependencies"]["fuzz"])))
    except metadata.PackageNotFoundError as missing:
        print(f"requirements/fuzz.txt is left as it is: {missing} is not installed here", file=sys.stderr)
    try:
        peers = closure(tuple(project["optional-dependencies"]["peers"]))
    except metadata.PackageNotFoundError as missing:
        print(f"requirements/peers.txt is left as it is: {missing} is not installed here", file=sys.stderr)
    else:
        write("peers.txt", "Other scanners, for `make bench` only, in an environment of their own.", peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
