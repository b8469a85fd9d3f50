"""The walls' own data against the rules: no check that a wall does not know, no listed name that it never lets pass."""

from __future__ import annotations

from nbguard import rules
from nbguard.hooks.walls import arguments, never, states


def test_every_check_of_the_rules_is_known() -> None:
    checks = {rule.check for rule in rules.listed().values()} - {""}
    assert checks <= arguments.CALLS.keys() | states.BUILDS.keys() | arguments.NO_CHECK


def test_no_listed_global_is_one_that_never_passes() -> None:
    both = [f"{m}.{n}" for (m, n), rule in rules.listed().items() if never.forbidden(m, n) and rule.verbs - {"named"}]
    assert both == []


def test_free_globals_are_data() -> None:
    assert all(rule.level == "data" for rule in rules.listed().values() if rule.free)


def test_known_gadgets_never_pass_by_the_rules() -> None:
    for module, name in (("os", "system"), ("builtins", "eval"), ("nbguard", "uninstall"), ("runpy", "run_path"),
                         ("numpy", "load"), ("torch.jit", "load"), ("operator", "attrgetter"),
                         ("functools", "reduce"), ("collections", "OrderedDict.__init__.__globals__")):  # fmt: skip
        assert never.forbidden(module, name)
        assert rules.lookup(module, name) is None or not rules.lookup(module, name).verbs - {"named"}  # type: ignore[union-attr]
