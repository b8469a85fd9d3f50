"""What the documents say of Python packages; they are found in zips and tars and judged by `scanners/packages.py`.

FORMATS
"""

from __future__ import annotations

from nbguard.scanners.base import Format

_CHECKED = (
    "every member as what it is; what it puts where, and what that would shadow; `.pth` files and `sitecustomize`; what"
    " its modules do when they are imported"
)
_UNCHECKED = (
    "what its functions do once they are called; whether a command at import is one of the many that libraries need:"
    " that is *review*"
)
FORMATS = (
    Format(
        "wheel",
        "Python wheel",
        (".whl",),
        "a zip with the member `<name>-<version>.dist-info/WHEEL`",
        f"{_CHECKED}; its list of files, digests included",
        _UNCHECKED,
        "*review*, as all code; *danger* for code that runs at Python's start or fetches and runs at import, and for"
        " names that belong to others; *unverifiable* where a file is not the one in its list",
    ),
    Format(
        "egg",
        "Python egg",
        (".egg",),
        "a zip with the member `EGG-INFO/PKG-INFO`",
        _CHECKED,
        _UNCHECKED,
        "as of wheels",
    ),
    Format(
        "sdist",
        "Python source package",
        (".tar.gz", ".zip"),
        "a tar or zip whose one folder holds `PKG-INFO` and `setup.py` or `pyproject.toml`",
        f"{_CHECKED}; `setup.py` as what runs while it is built",
        "build systems that `pyproject.toml` names: they are packages of their own",
        "*review*, as all code; *danger* where `setup.py` runs commands, connects or unpickles while it is built",
    ),
)
