"""Where a rehearsed program's steps are judged: verbs for every global, and the arguments and states that matter.

    stage = Stage(Permissions(grant), grant)
    stage.happened("reduce", kind, None, ("id",))       # raises ContractViolation
    stage.finish()                                      # what was empty may have been filled since: look again

Which check a global needs is said by the rules; the checks are this wall's own (`arguments.py`, `states.py`).
A check that the wall does not know stops the load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbguard.hooks.grants import Grant
from nbguard.hooks.walls.inert import Inert, Kind
from nbguard.hooks.walls.permissions import Permissions

MOST_LATER = 500_000
"""Looks at the end of one program."""


class Stage:
    """Where the inert actors report to. Raises ContractViolation for what is not in the contract."""

    def __init__(self, permissions: Permissions, grant: Grant, on_array: Callable[[bool], None] | None = None) -> None:
        from nbguard import rules
        from nbguard.hooks.walls import arguments, states

        self.permissions = permissions
        self.grant = grant
        self.on_array = on_array
        self.steps = 0
        """Steps so far that could have put a data type to use."""
        self._later: list[Callable[[], None]] = []
        self._rule = rules.lookup
        self._calls = arguments.CALLS
        self._builds = states.BUILDS
        self._unchecked = arguments.NO_CHECK | states.BUILDS.keys()
        self._kinds: dict[tuple[str, str], Kind] = {}

    def lists(self, module: str, name: str) -> bool:
        """Whether the rules list exactly this global."""
        return self._rule(module, name) is not None

    def check_of(self, kind: Kind) -> str:
        """Name of the check that the rules want for a global, or empty."""
        rule = self._rule(*kind._names)
        return rule.check if rule is not None else ""

    @property
    def shown(self) -> bool:
        """Whether a person saw more than explained data in the report, and accepted it."""
        return self.grant.accepted_by_person and self.grant.report.verdict > 0

    def kind(self, module: str, name: str) -> Kind:
        """The inert global of this name."""
        found = self._kinds.get((module, name))
        if found is None:
            found = self._kinds[module, name] = Kind.make((module, name), self)
        return found

    def happened(self, verb: str, kind: Kind, subject: Inert | None, args: tuple[Any, ...]) -> Any:
        """One step of the program. For `reduce` and `newobj` the result is what stands on the stack."""
        names = kind._names
        if verb == "called":
            self.stop(kind, "gives something that would be called in turn")
        if names[0] == "":
            return None  # what a persistent id stands for is the caller's own object
        if names[1] != "dtype" and names[1] != "encode":
            self.steps += 1
        self.permissions.verb(names[0], names[1], verb)
        rule = self._rule(*names)
        check = rule.check if rule is not None else ""
        if subject is not None:
            if verb == "build" and (build := self._builds.get(check)) is not None:
                build(self, kind, subject, args[0])
            subject.changed = True
            return None
        if verb == "reduce" and check:
            call = self._calls.get(check)
            if call is not None:
                made = call(self, kind, args)
                return kind.bare() if made is None else made
            if check not in self._unchecked:
                self.stop(kind, f"needs a check that is not known here ({check})")
        if verb == "newobj" and args and check in ("ndarray", "masked"):
            self.stop(kind, "would be made with a shape and memory of the file's choice")
        made = kind.bare()
        if args:
            made.made_with = args if check in ("container", "dtype") else (None,)
        return made

    def on_global(self, kind: Kind) -> None:
        """Something is done to the global itself: a function or class of the installation would be changed."""
        self.stop(kind, "would itself be changed")

    def persistent(self, pid: Any) -> Any:
        """torch's persistent ids: storages, but no modules with source, which a patch file would be written for.

        Without source torch hands back the class that the id holds: what is done to it is then judged like any global.
        """
        if not isinstance(pid, tuple) or not pid:
            return None
        head = pid[0].decode("latin-1") if isinstance(pid[0], bytes) else pid[0]
        with_source = (head == "module" and len(pid) > 2 and all(pid[2:])) or (
            isinstance(pid[0], Kind) and len(pid) > 1 and all(pid[1:])
        )
        if with_source:
            self.stop_for("a persistent id holds source code of a module.")
        handed_back = pid[1] if head == "module" and len(pid) > 1 else pid[0]
        return handed_back if isinstance(handed_back, Kind) else None

    def later(self, look: Callable[[], None]) -> None:
        """Look again when the program has ended: states are kept by reference."""
        self._later.append(look)
        if len(self._later) > MOST_LATER:
            self.stop_for("it does more than can be looked at twice.")

    def finish(self) -> None:
        """All the looks that were put off."""
        for look in self._later:
            look()

    def stop(self, kind: Kind, why: str) -> None:
        """Raise for this global."""
        self.stop_for(f"{ascii('.'.join(kind._names)[:200])[1:-1]} {why}.")

    def stop_for(self, why: str) -> None:
        """Raise ContractViolation."""
        from nbguard.hooks import walk

        raise walk.violation(self.grant, why)

    def named(self, kind: Kind, value: Any) -> Kind:
        """`value`, which has to be a global that the program names."""
        if not isinstance(value, Kind):
            self.stop(kind, "would be used on something that the program does not name")
        found: Kind = value
        return found

    def instance(self, kind: Kind, value: Any, args: tuple[Any, ...] = ()) -> Any:
        """An instance of the named class `value`, judged as if the program had made it itself."""
        return self.happened("newobj", self.named(kind, value), None, args)
