"""Findings, contracts, reports: the one thing that every face renders."""

from nbguard.report.model import Contract, FileReport, Finding, Report, Severity, Verdict

__all__ = ["Contract", "FileReport", "Finding", "Report", "Severity", "Verdict"]
