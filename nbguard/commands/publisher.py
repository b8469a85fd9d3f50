"""`nbguard publisher`: whose name this is, and whose it looks like. Nothing is looked up.

    nbguard publisher meta-Ilama/Llama-3.1-8B rnicrosoft
    nbguard publisher --format json org/name

Exit code 0: no name resembles a publisher's. 1: one does. 2: one cannot be judged. Where both hold, 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from nbguard.provenance.names import LONGEST, NameRisk, assess, assess_owner
from nbguard.provenance.publishers import publishers
from nbguard.provenance.spelled import NameUnclear, bare_name
from nbguard.report.escape import terminal


def run(options: argparse.Namespace) -> int:
    """Judge every name, print what was found, return the exit code."""
    results = judged(options.names)
    if options.format == "json":
        json.dump({"results": results}, sys.stdout, indent=2, ensure_ascii=True)
        print()
    else:
        for result in results:
            print("\n".join(_lines(result)))
    return exit_code(results)


def exit_code(results: Iterable[dict[str, Any]]) -> int:
    """0, 1 or 2 as the module says."""
    found = list(results)
    if any(result["resembles"] for result in found):
        return 1
    return 2 if any("error" in result for result in found) else 0


def judged(names: Iterable[str]) -> list[dict[str, Any]]:
    """One entry for each name, in their order, as `--format json` prints it."""
    return [_entry(name) for name in names]


def _entry(given: str) -> dict[str, Any]:
    try:
        name = bare_name(given)
    except NameUnclear as error:
        return {"name": _shown(given), "known": False, "resembles": [], "risk": "high", "reason": str(error),
                "error": str(error)}  # fmt: skip
    found = assess(name) if "/" in name else assess_owner(name)
    entry: dict[str, Any] = {
        "name": _shown(given),
        "known": found.known,
        "resembles": [
            {
                "publisher": r.publisher.name,
                "how": r.how,
                "confidence": r.confidence,
                "detail": r.detail,
                "organisation": r.publisher.organisation,
                "verified": r.publisher.verified,
                "similarity": round(r.similarity, 2),
                "severity": r.severity.word,
            }
            for r in found.resemblances
        ],
        "risk": found.risk,
        "reason": found.reason,
    }
    entry |= _publisher(name, found)
    if found.odd:
        entry["odd"] = found.odd
        if not found.resemblances:
            entry["error"] = found.reason
    return entry


def _publisher(name: str, found: NameRisk) -> dict[str, Any]:
    """Of a name in the list: whose it is, and what its own models are called."""
    owner, _, model = name.rpartition("/")
    publisher = publishers().get(owner or model) if found.known else None
    if publisher is None:
        return {}
    said: dict[str, Any] = {
        "organisation": publisher.organisation,
        "verified": publisher.verified,
        "models": list(publisher.models),
    }
    return said | ({"own_model": bool(publisher.claims(model))} if owner else {})


def _shown(given: str) -> str:
    """As it was given; what is not UTF-8 as an escape, so that every reader of JSON takes it."""
    text = given if len(given) <= 2 * LONGEST else f"{given[: 2 * LONGEST]}…"
    return "".join(f"\\x{ord(c) - 0xDC00:02x}" if "\udc80" <= c <= "\udcff" else c for c in text).encode(
        "utf-8", "backslashreplace"
    ).decode("utf-8")  # fmt: skip


def _lines(result: dict[str, Any]) -> list[str]:
    """`[CRITICAL] id -> Looks like X (homoglyph): …`, and what else there is to say."""
    lines = [
        f"[{result['risk'].upper()}] {terminal(result['name'], 200) or '(empty)'} -> {terminal(result['reason'], 300)}"
    ]
    if result.get("models") and "own_model" not in result:
        lines.append(f"    models: {', '.join(result['models'][:8])}")
    for other in result["resembles"][0 if result["reason"].startswith("No namespace") else 1 :][:3]:
        lines.append(
            f"    also like {other['publisher']} ({other['how']}): {terminal(other['detail'], 200)}"
            f" [{other['confidence']:.2f}]"
        )
    return lines
