"""Approvals and the audit log: what was decided, and what may be loaded again without a question.

find(report, opened)                        # Approval or None: accepted for this cell, or approved before
Store().list()
AuditLog().record("load.allowed", target="model.pt")
"""

from __future__ import annotations

from nbguard.approvals.audit import AuditLog
from nbguard.approvals.audit_check import AuditCheck
from nbguard.approvals.model import Approval, RecordError
from nbguard.approvals.session import accepted, find, hold, release
from nbguard.approvals.store import Store

__all__ = ["Approval", "AuditCheck", "AuditLog", "RecordError", "Store", "accepted", "find", "hold", "release"]
