"""The second wall's judgement: may this load name this global, and do that with it?

    Permissions(grant).name("collections", "OrderedDict")       # raises ContractViolation where not

A name must be in the contract, come from the installation and not from a file beside the notebook, and stand in the
rules with what is done to it. The rules are read again here: what the scanner concluded from them does not count. What
the rules do not know needs a person who accepted it.
"""

from __future__ import annotations

import _compat_pickle
import sys

from nbguard.hooks import trust
from nbguard.hooks.grants import Grant
from nbguard.hooks.local_code import digest, resolve
from nbguard.hooks.walls import never
from nbguard.hooks.walls.inert import Kind
from nbguard.report.model import GlobalUse

CAPS: dict[tuple[str, str], frozenset[str]] = {
    ("numpy", "memmap"): frozenset({"named"}),
    ("numpy._core.memmap", "memmap"): frozenset({"named"}),
    ("numpy.core.memmap", "memmap"): frozenset({"named"}),
}
"""The wall's own limits, tighter than any rule: a memory map that is made opens a file, for writing if asked to."""

ALIASES: dict[tuple[str, str], tuple[str, str]] = {
    ("pandas._libs.internals", "_unpickle_block"): ("pandas.core.internals.blocks", "new_block"),
    ("pandas._libs.tslibs.nattype", "_nat_unpickle"): ("pandas._libs.tslibs.nattype", "__nat_unpickle"),
    ("pandas.core.indexes.base", "Index"): ("pandas.core.indexes.numeric", "*"),
    ("pandas.core.dtypes.dtypes", "SparseDtype"): ("pandas.core.arrays.sparse.dtype", "SparseDtype"),
    ("torch._tensor", "*"): ("torch.tensor", "*"),
}
"""Renames that loaders make themselves before they resolve a name: what is resolved → what stands in the program
(pandas 3.1 `compat/pickle_compat.py`, torch 2.13 `serialization.py`)."""


def mapped(module: str, name: str) -> tuple[str, str]:
    """The Python 3 spelling of a Python 2 global."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


class NotFree(Exception):  # noqa: N818 - a signal between two functions, not an error
    """A program names something that needs a contract."""


def free(module: str, name: str, *, unchecked: bool = False) -> bool:
    """Whether a global may be used with no contract in force: harmless whatever is done with it, and the real one.

    `unchecked` leaves out those that some arguments make endless.
    """
    from nbguard import rules

    for spelled in {(module, name), mapped(module, name)}:
        if never.forbidden(*spelled):
            return False
    rule = rules.lookup(*mapped(module, name))
    return rule is not None and rule.free and not (unchecked and rule.check) and _origin_holds(module, name)


class Permissions:
    """Answers for one grant. Every refusal is a ContractViolation that names what was not in the contract."""

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self._uses: dict[tuple[str, str], GlobalUse] = {}
        for use in grant.contract.globals:
            self._uses[use.module, use.name] = use
            for module, name in use.raw:
                self._uses.setdefault((module, name), use)

    def use(self, module: str, name: str) -> GlobalUse | None:
        """The contract's entry for a global in any of its spellings."""
        found = self._uses.get((module, name)) or self._uses.get(mapped(module, name))
        if found is None:
            for key in ((module, name), (module, "*")):
                if key in ALIASES:
                    other, theirs = ALIASES[key]
                    found = next((u for (m, n), u in self._uses.items() if m == other and theirs in ("*", n)), None)
        return found

    def name(self, module: str, name: str) -> None:
        """Check that the global may be named at all. Raises ContractViolation."""
        grant = self._grant
        if not grant.enforced or grant.permitted.get((module, name)):
            return
        if grant.explained:
            self._explained(module, name)
            grant.permitted[module, name] = True
            return
        use = self.use(module, name)
        if use is None:
            self._stop(module, name, "is not in the contract that was accepted")
            return
        told = grant.accepted_danger and use.level == "gadget"
        for spelled in {(module, name), mapped(module, name)}:
            if never.own(*spelled) or (never.forbidden(*spelled) and not told):
                self._stop(module, name, "may never be used by a model file")
        self._check_origin(module, name, use, told)
        grant.permitted[module, name] = True

    def _explained(self, module: str, name: str) -> None:
        """With no contract yet: only what the rules list as data, and only from where it belongs."""
        from nbguard import rules

        rule = rules.lookup(*mapped(module, name))
        forbidden = any(never.forbidden(*spelled) for spelled in {(module, name), mapped(module, name)})
        if rule is None or rule.level != "data" or forbidden or not _origin_holds(module, name):
            self._stop(module, name, "is not explained data")

    def verb(self, module: str, name: str, verb: str) -> None:
        """Check that the global may be used in this way: `newobj`, `reduce`, `build`, `mutated`."""
        from nbguard import rules

        grant = self._grant
        if not grant.enforced:
            return
        key = mapped(module, name)
        cap = CAPS.get(key)
        rule = rules.lookup(*key)
        if rule is not None and verb in rule.verbs and (cap is None or verb in cap):
            return
        use = self.use(module, name)
        if use is not None and _was_told(grant, use) and verb in use.verbs:
            unknown_object = cap is None and rule is None and verb != "reduce"
            if unknown_object or grant.accepted_danger:
                return  # a call that no rule explains is a danger, and only who accepted a danger was told of it
        self._stop(module, name, f"would be used in a way that was not accepted ({_WORDS.get(verb, verb)})")

    def any_verb(self, kind: Kind, verbs: tuple[str, ...]) -> str:
        """The first of `verbs` that the rules know for this global; the last one where they know none."""
        from nbguard import rules

        rule = rules.lookup(*kind._names)
        return next((v for v in verbs if rule is not None and v in rule.verbs), verbs[-1])

    def rule_for(self, kind: Kind, module: str, name: str) -> None:
        """Check that the rules list a global which a helper resolves by itself."""
        from nbguard import rules

        if rules.lookup(module, name) is None or never.forbidden(module, name):
            self._stop(*kind._names, f"would lead to {ascii(name[:80])[1:-1]}, which no rule lists")

    def _check_origin(self, module: str, name: str, use: GlobalUse, told: bool) -> None:
        from nbguard import rules

        grant = self._grant
        target, qualname = mapped(module, name)
        if trust.origin(target) != "installed" or (module != target and trust.origin(module) == "local"):
            local = module if trust.origin(module) == "local" else target
            if not _was_told(grant, use) or local not in grant.contract.local_modules:
                self._stop(module, name, "comes from a file of your own, not from an installed library")
            names = {u.name for u in grant.contract.globals if u.module == local}
            if digest(local, names) != grant.contract.local_modules[local]:
                self._stop(module, name, "means other code than when it was accepted")
            loaded = sys.modules.get(local)
            if loaded is not None and resolve(loaded, qualname) is None:
                self._stop(module, name, "is no class or function of that module itself")
            return
        rule = rules.lookup(target, qualname)
        if rule is None and not _was_told(grant, use):
            self._stop(module, name, "is not known to the rules, and nobody accepted it")
        if rule is None and "." in qualname and not told:
            self._stop(module, name, "reaches through an object")
        if rule is None and not told and not _may_hold_a_class(target):
            self._stop(module, name, "is part of Python itself, and no data type, or of a program")

    def _stop(self, module: str, name: str, why: str) -> None:
        from nbguard.hooks import walk

        shown = ascii(f"{module}.{name}"[:200])[1:-1]
        raise walk.violation(self._grant, f"{shown} {why}.")


_WORDS = {"reduce": "called", "newobj": "instantiated", "build": "given state", "mutated": "changed"}


def _was_told(grant: Grant, use: GlobalUse) -> bool:
    """Whether a person accepted a report that said of this global that it is not known, or worse. A scanner that takes
    it for data has told them nothing."""
    return grant.accepted_by_person and use.level in ("unknown", "gadget")


def _may_hold_a_class(module: str) -> bool:
    """Whether an unlisted class may come from there: importing a program runs it, and the standard library's data types
    are all listed."""
    parts = module.split(".")
    return parts[0] not in sys.stdlib_module_names and "__main__" not in parts


def _origin_holds(module: str, name: str) -> bool:
    target, _ = mapped(module, name)
    return trust.origin(target) == "installed" and (module == target or trust.origin(module) != "local")
