"""What an entry for one guarded loader says.

    Loader(
        name="safetensors.torch.load_file",
        module="safetensors.torch",
        function="load_file",
        source=("filename",),
        passes_library=True,
        enforced="read through the handle that was scanned",
        scanned="tensor table: bounds, overlaps, names",
    )

Entries stand in the modules of `nbguard.hooks.loaders.declarations` and are read whenever the guard is put in place: no
library is imported there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nbguard.artifact.sources import Opened
    from nbguard.hooks.caller import Caller
    from nbguard.hooks.grants import Grant

Hand = Literal["handle", "staged", "sealed", "bytes", "same"]
Form = Literal["path", "bytes", "stream", "other"]


@dataclass(kw_only=True)
class Call:
    """One call of a guarded loader, on its way."""

    loader: Loader
    bound: inspect.BoundArguments
    name: str
    """The parameter that names what is loaded."""
    who: Caller
    stack: ExitStack = field(default_factory=ExitStack)
    """Closes what was opened once the call is over, or with the result where `declared.keep` says so."""
    form: Form = "other"
    """What the source is: a path, bytes, something with `read`; set by `opens`."""
    staged: str | None = None
    """The private folder that the loader was given instead, where there is one."""
    start: int | None = None
    """Where a stream that can seek stood."""
    given: Any = None
    """The source as the caller gave it."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What `opens`, `prepare` and `finish` of one entry tell each other."""

    @property
    def source(self) -> Any:
        return self.get(self.name)

    def get(self, name: str, otherwise: Any = None) -> Any:
        """The argument of this name, its default where it was left out; looked up in `**kwargs` too."""
        if name in self.bound.arguments:
            return self.bound.arguments[name]
        return self._more().get(name, otherwise)

    def set(self, name: str, value: Any) -> None:
        """Have the loader called with this argument; goes into `**kwargs` where it is no parameter by itself."""
        if name in self.bound.signature.parameters:
            self.bound.arguments[name] = value
            return
        var = self._var_keyword()
        if var is None:
            raise TypeError(f"{self.loader.name} takes no argument {name}")
        self.bound.arguments.setdefault(var, {})[name] = value

    def _var_keyword(self) -> str | None:
        parameters = self.bound.signature.parameters.values()
        return next((p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD), None)

    def _more(self) -> dict[str, Any]:
        var = self._var_keyword()
        more: dict[str, Any] = self.bound.arguments.get(var, {}) if var is not None else {}
        return more


@dataclass(frozen=True, kw_only=True)
class Loader:
    """One guarded loader. What is not said has the default that a single file of pure data needs."""

    name: str
    """What a person types; the `loader` of requests, reports and the audit log."""
    module: str
    """Guarded right after this module was imported."""
    function: str = ""
    """What is guarded in it: `load_file`, `Booster.load_model`, `InferenceSession.__init__`."""
    source: tuple[str, ...] = ()
    """Parameters that may name what is loaded; the first that is given counts."""
    signature: tuple[str, ...] = ()
    """The parameters of a C function that does not tell them; those with `=` at the end may be left out, those after
    `*` go by name only."""
    opens: Callable[[Call], Opened | None] | None = None
    """Exactly the files that it would open (by default: one file, bytes or stream); None where nothing is loaded, the
    call then passes untouched."""
    hand: Hand = "handle"
    """What it is given instead. `handle`: a path to the scanned handle. `staged`: a private folder of links, named as
    the files are, each to its scanned handle. `sealed`: the same over copies that nobody can write to, made before the
    scan. `bytes`: what the handle holds. `same`: its arguments, where the loads beneath are guarded themselves."""
    prepare: Callable[[Call, Grant], None] | None = None
    """Changes the arguments before the load (`safe_mode=True`)."""
    finish: Callable[[Call, Grant, Any], Any] | None = None
    """Puts the result right afterwards and returns it."""
    arguments: tuple[str, ...] = ()
    """Arguments that change what may happen; a person sees them."""
    passes_library: bool = False
    """A library's own call passes unseen: the format holds nothing that can run."""
    guard: str = ""
    """`module_:function` beside `declared`, for a loader that needs more than an entry."""
    asks_about: str = "the file"
    enforced: str
    """One sentence for the table of loaders: what is enforced while it loads."""
    scanned: str
    """One sentence: what is only looked at before."""
    group: str = ""
    """Heading in the table of loaders, where it is not the first part of `name`."""
    tested: Literal["library", "stand-in"] = "library"
    """Whether the tests run the real library, or one with its signature where it does not fit."""

    @property
    def library(self) -> str:
        """The library that it belongs to, as a heading."""
        return self.group or self.name.partition(".")[0]
