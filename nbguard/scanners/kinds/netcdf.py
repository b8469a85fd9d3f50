"""NetCDF's classic files: numbers behind a header that says where. Newer ones are HDF5 and are judged as that.

facts = SCANNER.scan(job)
"""

from __future__ import annotations

import hashlib

from nbguard.formats import netcdf3
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.facts import Facts
from nbguard.scanners.numeric import malformed


class NetcdfScanner:
    name = "netcdf"

    def recognise(self, job: Job) -> bool:
        return job.head.startswith(netcdf3.MAGIC)

    def scan(self, job: Job) -> Facts:
        try:
            found = netcdf3.read(job.view)
        except ValueError as error:
            return malformed(job, "netcdf", error)
        facts = plain(job, "netcdf")
        facts.counts.update(arrays=len(found.variables), array_bytes=job.size - found.head)
        facts.marks.append(hashlib.sha256(job.view.read(0, found.head)).hexdigest())
        facts.blocks.append((job.member, found.head, job.size - found.head, "netcdf"))
        return facts


SCANNER = NetcdfScanner()
FORMATS = (
    Format(
        "netcdf",
        "NetCDF, classic",
        (".nc", ".cdf"),
        "the mark `CDF` and a version at its start",
        "the header to its end: dimensions, attributes, and that every variable lies in the file",
        "the numbers themselves",
        "*safe*; *unverifiable* where an index, an offset or a length leads nowhere",
    ),
)
