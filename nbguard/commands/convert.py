"""`nbguard convert`: weights in other formats made into safetensors in an isolated process.

nbguard convert pytorch_model.bin
nbguard convert org/name --to converted/name
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from nbguard.report.escape import terminal


def run(options: argparse.Namespace) -> int:
    """Convert, and say what was made, or why not. Raises TargetError: one sentence."""
    from nbguard.acquire.convert import ConversionError, convert
    from nbguard.acquire.notes import held
    from nbguard.commands.scan import complain

    try:
        made = convert(options.target, options.to, revision=options.revision, overwrite=options.overwrite)
    except ConversionError as error:
        sentence, _, report = str(error).partition("\n")
        complain(sentence)
        if report:
            sys.stderr.write(f"{terminal(report, 8_000, block=True)}\n")
        return 2
    if options.format == "json":
        json.dump(dataclasses.asdict(made), sys.stdout, indent=1)
        print()
        return 0
    for file in made.files:
        print(
            f"{terminal(file.source, 200)} → {terminal(file.path, 200)}: {file.tensors:,} tensors, the same bit for bit"
        )
        if file.left_out:
            print(f"  left out, because it is no weight: {terminal(', '.join(file.left_out), 300)}")
    print(f"Written to {terminal(made.path, 500)}; read in a process held by {held(made.files[0].layers)}.")
    return 0
