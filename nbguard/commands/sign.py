"""`nbguard sign` and `nbguard checksums`: write down what a folder holds, with a key or without.

nbguard checksums model
nbguard sign model --private-key key.pem
"""

from __future__ import annotations

import argparse
import os
import sys

from nbguard.provenance.signing import Made, is_encrypted, sign, write_checksums
from nbguard.report.escape import terminal

PASSWORD = "NBGUARD_KEY_PASSWORD"


def run(options: argparse.Namespace) -> int:
    """Sign, and say what was signed. Raises TargetError or VerificationError: one sentence."""
    made = sign(
        options.folder,
        private_key=options.private_key,
        signature=options.signature,
        password=_password(options.private_key),
        certificate=options.certificate,
        certificate_chain=options.certificate_chain or (),
        overwrite=options.overwrite,
    )
    return _said("Signed", made)


def checksums(options: argparse.Namespace) -> int:
    """Write checksums, and say what of. Raises TargetError or VerificationError: one sentence."""
    return _said("Wrote the checksums of", write_checksums(
        options.folder, output=options.output, overwrite=options.overwrite
    ))  # fmt: skip


def _said(what: str, made: Made) -> int:
    count = len(made.files)
    print(f"{what} {count:,} file{'' if count == 1 else 's'}: {terminal(made.path, 500)}")
    for name in made.left_out:
        print(f"Not covered: {terminal(name, 300)}, version control data. 'nbguard verify' lists it as extra.")
    return 0


def _password(key: str) -> str | None:
    """Of a key that needs one: from the environment, or asked for at a terminal; None where there is none."""
    if not is_encrypted(key):
        return None
    given = os.environ.get(PASSWORD)
    if given or not sys.stdin.isatty():
        return given or None
    import getpass

    return getpass.getpass("Password of the private key: ") or None
