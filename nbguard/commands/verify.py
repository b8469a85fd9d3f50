"""`nbguard verify`: are these the files that somebody vouched for?

    nbguard verify model
    nbguard verify model --public-key key.pub --format json

Exit code 0: everything is what it should be. 1: something is not. 2: it could not be checked.
"""

from __future__ import annotations

import argparse
import json
import sys

from nbguard.commands.scan import Progress, complain
from nbguard.provenance.digests import Progress as Tell
from nbguard.provenance.verify import Verification, verify
from nbguard.report.escape import terminal

MOST = 50
"""Names of a kind that the text shows; JSON has all of them."""


def run(options: argparse.Namespace, progress: Tell | None = None) -> int:
    """Compare, say what was found, return the exit code.

    Args:
        progress: called with the share done and what is being read; by default a line on a terminal.

    Raises TargetError or VerificationError: one sentence.
    """
    line = Progress()
    try:
        found = _compared(options, progress or line)
    finally:
        line.clear()
    if options.format == "json":
        json.dump(found.to_json(), sys.stdout, indent=1)
        print()
        for note in found.notes:
            complain(note)
    else:
        print("\n".join(lines(found)))
    return 0 if found.all_verified else 1


def show(options: argparse.Namespace) -> int:
    """`%safemodel verify`: the same, with the bar of a notebook."""
    from nbguard.gate import progress

    with progress(f"Comparing {options.target}") as moved:
        return run(options, moved)


def _compared(options: argparse.Namespace, progress: Tell) -> Verification:
    return verify(
        options.target,
        checksums=options.checksums,
        signature=options.signature,
        public_key=options.public_key,
        certificate_chain=options.certificate_chain,
        identity=options.identity,
        identity_provider=options.identity_provider,
        trust_config=options.trust_config,
        online=options.online,
        allow_extra=options.allow_extra or options.allow or False,
        revision=options.revision,
        progress=progress,
    )


def lines(found: Verification) -> list[str]:
    """What was found, for a terminal: what differs, what was compared, and the answer last."""
    made = _some([f"CHANGED  {terminal(f.file, 300)}: expected {f.expected}, is {terminal(f.actual, 300)}"
                  for f in found.failed])  # fmt: skip
    made += _some([f"MISSING  {terminal(name, 300)}" for name in found.missing])
    made += _some([f"EXTRA    {terminal(name, 300)}: nothing vouches for it" for name in found.extra])
    made += [f"Compared: {terminal(sentence, 400)}" for sentence in found.compared]
    made += [f"Note: {terminal(sentence, 400)}" for sentence in found.notes]
    if found.signature is not None:
        made.append(_signature(found.signature))
    counts = f"{len(found.verified):,} verified"
    for names, word in ((found.failed, "changed"), (found.missing, "missing"), (found.extra, "extra")):
        counts += f", {len(names):,} {word}" if names else ""
    made.append(
        f"{terminal(found.target, 300)}: {'all verified' if found.all_verified else 'NOT VERIFIED'} ({counts})."
    )
    return made


def _signature(said: dict[str, object]) -> str:
    if not said["verified"]:
        return f"Signature: does NOT hold. {terminal(str(said['problem']), 600)}"
    signer = said["signer"]
    assert isinstance(signer, dict)
    who = ", ".join(f"{key.replace('_', ' ')} {terminal(str(value), 300)}" for key, value in signer.items())
    return f"Signature: holds ({who})."


def _some(found: list[str]) -> list[str]:
    left = len(found) - MOST
    return [*found[:MOST], f"         … and {left:,} more"] if left > 0 else found
