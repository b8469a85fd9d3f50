"""Interception of loaders, and the enforcement of what was accepted.

from nbguard import hooks

hooks.install()         # torch.load, pickle.load, from_pretrained, … are guarded, whoever bound them before
hooks.installed()       # True
hooks.uninstall()       # every loader is again what it was
"""

from __future__ import annotations

import threading

from nbguard.hooks.installed import Installed  # a later import would put the module in place of `installed()`

_lock = threading.RLock()
_installed: Installed | None = None


def install() -> None:
    """Guard every known loader in this process, those of libraries that are imported later too. Calling it again does
    nothing. Imports none of the libraries it guards."""
    global _installed
    with _lock:
        if _installed is not None:
            return
        from nbguard.hooks.loaders import guard_all
        from nbguard.hooks.savers import watch_all
        from nbguard.hooks.walls import audit

        hooks = Installed()
        try:
            guard_all(hooks)
            watch_all(hooks)
        except BaseException:
            hooks.undo()
            raise
        _installed = hooks
        audit.arm()


def uninstall() -> None:
    """Give every loader back as it was. Calling it again does nothing."""
    global _installed
    with _lock:
        if _installed is None:
            return
        from nbguard.approvals import session
        from nbguard.hooks import grants, repeats
        from nbguard.hooks.walls import audit

        audit.disarm()
        _installed.undo()
        _installed = None
        grants.close_all()
        repeats.forget()
        session.release()


def installed() -> bool:
    """Whether loads are guarded now."""
    return _installed is not None
