"""Zips: PyTorch's checkpoints, TorchScript, packages and exports, numpy's `.npz`, and all the others.

    facts = SCANNER.scan(job)

What is in one is judged by `nbguard.scanners.zip_contents`, which is not imported before there is a zip.
"""

from __future__ import annotations

from nbguard.formats import zip_reader
from nbguard.formats.zip_reader import ZipDirectory
from nbguard.scanners.base import Job, unverifiable
from nbguard.scanners.facts import Facts


class ZipScanner:
    """Every kind of zip."""

    name = "zip"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith((zip_reader.LOCAL, b"PK\x05\x06"))

    def scan(self, job: Job) -> Facts:
        try:
            directory = zip_reader.read_directory(job.view, every=False)
        except zip_reader.ZipError as error:
            return unverifiable(job, "zip", "zip.malformed", str(error))
        return self.judge(job, directory)

    def embedded(self, job: Job) -> Facts:
        """The zip that ends a file of another format: Python's `zipfile` finds it, and so do loaders built on it."""
        if self.recognise(job) or not zip_reader.has_end(job.view):
            return Facts(format="")
        from nbguard.formats import llamafile
        from nbguard.scanners.kinds import tars

        if tars.ends_with_a_member(job):
            return Facts(format="")
        if llamafile.is_one(job.head):
            return Facts(format="")  # its own scanner hands the zip to `judge`
        try:
            directory = zip_reader.read_directory(job.view, every=False)
        except zip_reader.ZipError:
            return Facts(format="")  # the four bytes of a zip's end by chance: no reader finds a zip here either
        return self.judge(job, directory)

    def judge(self, job: Job, directory: ZipDirectory) -> Facts:
        from nbguard.scanners import zip_contents

        return zip_contents.judge(job, directory)


SCANNER = ZipScanner()
