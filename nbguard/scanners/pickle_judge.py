"""What the verbs of a pickle mean under the rules: data, library objects, anything else.

    judge = Judge("model.pkl", member="", container="pickle")
    tape = Tape(judge.watch); run(data, tape); facts = judge.conclude(tape)

A listed global may be used with the verbs its rule names, and its check has to pass. An unlisted one that is only made
and given state is to be looked at; one that is *called* is unexplained, which is dangerous, and so is a known gadget
that is only named: what is named can be called later.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from nbguard import rules
from nbguard.formats.joblib_machine import Block
from nbguard.formats.pickle_machine import (
    BUILD,
    INSTANCED,
    MUTATED,
    NEWOBJ,
    PASS,
    RECALLED,
    RECORD,
    REDUCE,
    TOUCHED,
    Handling,
    InertType,
    Seen,
    Tape,
)
from nbguard.report.model import Call, CodeFile, Finding, GlobalUse, Severity, Verdict
from nbguard.scanners import pickle_wording as wording
from nbguard.scanners.facts import Facts
from nbguard.scanners.pickle_describe import arguments_text, value_text
from nbguard.scanners.pickle_persistent import storage_trouble
from nbguard.scanners.pickle_wording import REFUSE, SAFETENSORS, Problem, evidence
from nbguard.scanners.tables import of_python

MAX_NOTED = 200
"""Calls and findings of one kind kept of one stream; more of the same are counted, not listed."""

_OWN = ("__main__", "__mp_main__", "builtins.__main__")


class Judge:
    """Judges one stream of pickle programs. Not reusable."""

    def __init__(
        self,
        file: str,
        member: str = "",
        container: str = "pickle",
        nested: Callable[[bytes, str], Facts] | None = None,
        companions: frozenset[str] = frozenset(),
    ) -> None:
        rules.version()  # broken rule data must raise here, not end a program as if the file were broken
        self.file, self.member, self.container = file, member, container
        self.companions = companions
        self.nested = nested
        self.facts = Facts(format=container)
        self.problems: dict[Seen, list[Problem]] = defaultdict(list)
        self.calls: list[tuple[str, str]] = []
        self.unlisted_calls = 0
        self.locate: Callable[[Seen], str] = lambda seen: member
        self.block_source: Callable[[Block], bytes] | None = None
        self._later: set[tuple[str, str]] = set()
        self._inside: set[bytes] = set()
        """Digests of the programs inside this one that were read: few bytes can hand the same on again and again."""

    # --- what the checks use

    def problem(
        self,
        seen: Seen,
        why: str,
        evidence: str = "",
        verdict: Verdict = Verdict.DANGER,
        severity: Severity = Severity.HIGH,
        rule: str = "pickle.argument",
    ) -> None:
        """A check on `seen` did not pass."""
        found = self.problems[seen]
        if len(found) < 8 and all(p.why != why for p in found):
            found.append(Problem(rule, why, evidence[:2000], verdict, severity))

    def noted(self, seen: Seen, arguments: tuple[Any, ...], keywords: Mapping[str, Any] | None = None) -> None:
        """Put a call with its literal arguments into the contract."""
        entry = (seen.dotted, arguments_text(arguments, keywords or {}))
        if entry in self.calls:
            return
        if len(self.calls) < MAX_NOTED:
            self.calls.append(entry)
        else:
            self.unlisted_calls += 1

    def may_be_called(self, value: Any) -> bool:
        """Whether a stored callable is one whose call would be explained: a listed global with the verb for it."""
        if not isinstance(value, InertType):
            return False
        rule = rules.lookup(value._seen.module, value._seen.name)
        return (
            rule is not None
            and bool(rule.verbs & {"reduce", "newobj"})
            and rule.check in ("", "container", "small", "iterable")
        )

    def runs_later(self, seen: Seen, what: str, value: Any) -> None:
        """A callable that does not run while loading, but when the loaded object is used."""
        text = value_text(value)
        if (what, text) in self._later or len(self._later) >= MAX_NOTED:
            return
        self._later.add((what, text))
        self.facts.add(
            Finding(
                "pickle.runs-later",
                Severity.MEDIUM,
                self.file,
                self.locate(seen),
                f"{seen.name} calls {text[:200]} when it is used ({what}).",
                text[:2000],
                "It does not run while loading; it runs the first time that the loaded object does its work.",
                "Look at what that function does before using the object.",
            ),
            Verdict.REVIEW,
        )

    def recurse(self, seen: Seen, data: bytes, what: str) -> None:
        """Scan a program inside the program."""
        if self.nested is None:
            self.problem(seen, f"{what} could not be read", verdict=Verdict.UNVERIFIABLE, rule="pickle.nested")
            return
        digest = hashlib.sha256(data).digest()
        if digest not in self._inside:
            self._inside.add(digest)
            self.facts.merge(self.nested(data, what))

    def block_bytes(self, block: Block) -> bytes:
        """The bytes of an array that lies raw in the stream. Raises ValueError where they cannot be had."""
        if self.block_source is None:
            raise ValueError("its bytes are not at hand")
        return self.block_source(block)

    def code(self, path: str, sha256: str, kind: str) -> None:
        self.facts.code.append(CodeFile(path, sha256, kind))

    # --- what the machine asks

    def watch(self, seen: Seen) -> Handling:
        """How the machine should treat a global that a program names."""
        from nbguard.scanners import pickle_arguments

        rule = rules.lookup(seen.module, seen.name)
        if rule is None:
            special = pickle_arguments.unlisted(self, seen)
            return special if special is not None else RECORD
        return pickle_arguments.handling(self, rule) if rule.check else PASS

    def persistent(self, identities: list[Any]) -> None:
        """Persistent ids: torch's storages, and nothing else; a plain pickle can have none."""
        if not identities:
            return
        if not self.container.startswith(("torch", "nested")):
            self.facts.unverifiable(
                "pickle.persistent-id",
                self.file,
                self.member,
                "Uses persistent ids, which a plain pickle load cannot resolve.",
                evidence=value_text(identities[0]),
                remedy="Load it with the program that wrote it, which knows what they mean.",
            )
            return
        for identity in identities:
            why = storage_trouble(identity, self.container)
            if why is not None:
                self.facts.add(
                    Finding(
                        "pickle.persistent-id",
                        Severity.CRITICAL,
                        self.file,
                        self.member,
                        f"A persistent id {why}.",
                        value_text(identity),
                        "torch acts on persistent ids while it loads; only plain storages are data.",
                        REFUSE,
                    ),
                    Verdict.DANGER,
                )
                return

    # --- the end

    def conclude(self, tape: Tape) -> Facts:
        """Facts from everything on the tape; call it once, when the last program has ended."""
        for seen in tape.seen.values():
            self._conclude_one(seen)
        stand_in = tape.stand_in
        if stand_in.bits & (TOUCHED | RECALLED | BUILD | MUTATED):
            self._danger(stand_in, "pickle.unexplained-call", "Does something to what a persistent id stands for", "")
        if tape.extensions:
            self.facts.add(
                Finding(
                    "pickle.extension",
                    Severity.CRITICAL,
                    self.file,
                    self.member,
                    "Names a global by an extension code.",
                    meaning="Extension codes hide which global is meant; no model file needs one.",
                    remedy=REFUSE,
                ),
                Verdict.DANGER,
            )
        self._library_objects()
        return self.facts

    def _conclude_one(self, seen: Seen) -> None:
        rule, trap = rules.lookup(seen.module, seen.name), rules.gadget(seen.module, seen.name)
        verbs = self._verbs(seen, rule)
        if rule is not None:
            level, reason = rule.level, rule.reason
            excess = sorted(verbs - rule.verbs)
            if excess:
                level, reason = "gadget", f"used in a way that its rule does not explain: {', '.join(excess)}"
                self._unexplained(seen, excess)
            elif level == "library" and self.facts.verdict < Verdict.REVIEW:
                self.facts.verdict = Verdict.REVIEW
            if not rule.weights_only:
                self.facts.weights_only = False
        else:
            self.facts.weights_only = False
            level, reason = self._unlisted(seen, verbs, trap)
        shadow = self._other_reading(seen)
        if shadow is not None:
            level, reason = "gadget", shadow.why
            self._gadget(seen, shadow)
        for problem in self.problems.get(seen, ()):
            self._add_problem(seen, problem)
            if problem.verdict is Verdict.DANGER:
                level, reason = "gadget", problem.why
        if seen.bits & TOUCHED:
            level, reason = "gadget", "changed in place"
            self._danger(
                seen,
                "pickle.changes-global",
                f"Changes {seen.dotted[:200]} itself",
                "What is changed in a module, class or function stays changed for the whole kernel; nothing later in "
                "the file can be trusted.",
            )
        if seen.bits & RECALLED:
            level, reason = "gadget", "its result is called"
            self._danger(
                seen,
                "pickle.unexplained-call",
                f"Calls what {seen.dotted[:200]} made",
                "A call on the result of a call walks further than any rule explains.",
            )
        raw = ((seen.raw_module, seen.raw_name),)
        self.facts.globals.append(GlobalUse(seen.module, seen.name, raw, tuple(sorted(verbs)), level, reason))

    def _verbs(self, seen: Seen, rule: rules.Rule | None) -> set[str]:
        verbs = set(seen.verbs)
        if seen.bits & INSTANCED:  # INST and OBJ without arguments: NEWOBJ for a class, a call for anything else
            is_class = rule is not None and "newobj" in rule.verbs
            verbs.add("newobj" if is_class else "reduce")
        return verbs

    def _unlisted(self, seen: Seen, verbs: set[str], trap: rules.Gadget | None) -> tuple[str, str]:
        if trap is not None:
            self._gadget(seen, trap)
            return "gadget", trap.why
        if self.container == "torchscript" and seen.module.split(".")[0] == "__torch__" and "reduce" not in verbs:
            self.facts.verdict = max(self.facts.verdict, Verdict.REVIEW)
            return "library", "a type of the TorchScript code in this file; TorchScript's own reader makes it"
        root = seen.module.partition(".")[0]
        if not (seen.module.isascii() and seen.name.isascii()) or not seen.dotted.replace(".", "_").isidentifier():
            self._danger(seen, "pickle.odd-name", f"Names a global that no source could: {seen.dotted[:200]!r}", "")
            return "gadget", "no ordinary name"
        if "reduce" in verbs:
            self._unexplained(seen, ["reduce"])
            return "gadget", "an unexplained call"
        if "__main__" in seen.module.split(".")[seen.module in _OWN :]:
            self._danger(
                seen, "pickle.runs-program", f"Imports {seen.module[:200]}, which is a program", "Importing it runs it."
            )
            return "gadget", "a program, not a module"
        if "." in seen.name:
            self._danger(
                seen,
                "pickle.dotted-name",
                f"Walks to {seen.dotted[:200]} through attributes",
                "A dotted name can reach any attribute of anything in a module, its globals included.",
            )
            return "gadget", "a dotted name that is not listed"
        if of_python(root) and seen.module not in _OWN:
            self._danger(
                seen,
                "pickle.unexplained-class",
                f"Uses {seen.dotted[:200]}, which is no data type of Python's standard library",
                "The standard library's data types are listed; this one does something else.",
            )
            return "gadget", "part of the standard library, and no data type"
        self._unknown(seen, verbs)
        return "unknown", "not listed: nbguard does not know what this class does with its state"

    def _other_reading(self, seen: Seen) -> rules.Gadget | None:
        """Protocol 3 and later read the raw name; where Python 3 has such a module too, that reading counts as well."""
        raw = (seen.raw_module, seen.raw_name)
        if raw == (seen.module, seen.name) or not of_python(seen.raw_module):
            return None
        trap = rules.gadget(*raw)
        if trap is None and rules.lookup(*raw) is None:
            return rules.Gadget("uses a part of the standard library that is no data type", "two readings of one name")
        return trap

    # --- findings

    def _gadget(self, seen: Seen, trap: rules.Gadget) -> None:
        text = evidence(seen)
        called = bool(seen.bits & (REDUCE | NEWOBJ | INSTANCED))
        first = text.partition("\n")[0][:300]
        self.facts.add(
            Finding(
                "pickle.gadget",
                Severity.CRITICAL,
                self.file,
                self.locate(seen),
                f"Loading this {trap.what}: {first}." if called else f"Names {seen.dotted[:200]}, which {trap.what}.",
                text,
                trap.why,
                REFUSE,
            ),
            Verdict.DANGER,
        )
        self.facts.effects.extend(e for e in trap.effects if e not in self.facts.effects)
        if called:
            self.facts.summary.append(f"It would run {first}.")
        for event in seen.events:
            self.noted(seen, event.arguments, event.keywords)

    def _unexplained(self, seen: Seen, verbs: list[str]) -> None:
        text = evidence(seen).partition("\n")[0]
        for event in seen.events:
            self.noted(seen, event.arguments, event.keywords)
        if "reduce" in verbs or "newobj" in verbs:
            message = f"Calls {text[:300]}, and no rule explains that call."
        else:
            message = f"Uses {seen.dotted[:200]} in a way that no rule explains ({', '.join(verbs)})."
        self.facts.summary.append(f"It would call {text[:300]}.")
        self._danger(seen, "pickle.unexplained-call", message.rstrip("."), "A call can do anything; loading runs it.")

    def _danger(self, seen: Seen, rule: str, message: str, meaning: str) -> None:
        self.facts.add(
            Finding(
                rule,
                Severity.HIGH if rule == "pickle.unexplained-class" else Severity.CRITICAL,
                self.file,
                self.locate(seen),
                f"{message}.",
                evidence(seen),
                meaning,
                REFUSE,
            ),
            Verdict.DANGER,
        )

    def _unknown(self, seen: Seen, verbs: set[str]) -> None:
        finding = wording.unknown_class(self.file, self.locate(seen), seen, verbs, own=seen.module in _OWN)
        self.facts.add(finding, Verdict.REVIEW)

    def _add_problem(self, seen: Seen, problem: Problem) -> None:
        meaning = {
            Verdict.DANGER: "The arguments or the state make a harmless name do something else.",
            Verdict.UNVERIFIABLE: "nbguard cannot tell what loading this would do.",
        }.get(problem.verdict, "")
        self.facts.add(
            Finding(
                problem.rule,
                problem.severity,
                self.file,
                self.locate(seen),
                f"{seen.dotted[:200]}: {problem.why}.",
                problem.evidence or evidence(seen),
                meaning,
                REFUSE if problem.verdict is Verdict.DANGER else SAFETENSORS,
            ),
            problem.verdict,
        )

    def _library_objects(self) -> None:
        by_library: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for use in self.facts.globals:
            rule = rules.lookup(use.module, use.name)
            if use.level == "library" and rule is not None:
                by_library[rule.library][not use.makes_objects].append(use.name)
        for library, (made, used) in sorted(by_library.items()):
            finding = wording.library_objects(self.file, self.member, library, made, used)
            self.facts.add(finding, Verdict.REVIEW)
            self.facts.summary.append(finding.message)

    def program_calls(self, sha256: str) -> None:
        """Turn the calls noted since the last program into the contract's."""
        self.facts.calls.extend(Call(target, text, sha256) for target, text in self.calls)
        if self.unlisted_calls:
            self.facts.calls.append(Call("…", f"and {self.unlisted_calls} more calls, checked but not listed", sha256))
        self.calls, self.unlisted_calls = [], 0
