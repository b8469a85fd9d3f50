"""`%safemodel on` and `%safemodel off`: whether loads in this process are stopped at all.

off("comparing with another scanner")      # what to tell the person; raises ActionError where the site forbids it
on()

Off lasts until it is switched on again or the process ends, and nothing of it is kept anywhere but in the audit log.
"""

from __future__ import annotations

from nbguard.commands.actions import ActionError, getpass_user

AGAIN = "%safemodel on switches it on again."


def off(reason: str = "") -> str:
    """Take the guard away from this process.

    Raises:
        ActionError: the site does not let its users do that.
        RecordError: the audit log cannot be written; the guard stays.
    """
    from nbguard import hooks, settings
    from nbguard.approvals import AuditLog

    if not hooks.installed():
        return f"nbguard is off already: nothing is stopped in this session. {AGAIN}"
    if not settings.load().may_turn_off:
        AuditLog().record("guard.off-refused", who=getpass_user(), reason=reason)
        raise ActionError(
            "This site's configuration does not let nbguard be switched off; loads are still stopped and asked about."
        )
    AuditLog().record("guard.off", who=getpass_user(), reason=reason)
    hooks.uninstall()
    return f"nbguard is off: loads in this session run unseen, whatever they hold. {AGAIN}"


def on() -> str:
    """Guard this process again. Raises RecordError, with the guard in place all the same."""
    from nbguard import hooks
    from nbguard.approvals import AuditLog

    if hooks.installed():
        return "nbguard is on: loads in this session are stopped and asked about."
    hooks.install()
    AuditLog().record("guard.on", who=getpass_user())
    return "nbguard is on again. What was loaded in the meantime was not looked at."
