"""`python -m nbguard scan model.pt`: the command line without its script."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `python -m` puts the working directory first, which may be a downloaded model's with a json.py of its own.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]

    from nbguard.cli import main

    sys.exit(main())
