"""NeMo's archives (`.nemo`): a tar, compressed or not, with a configuration and weights.

facts = SCANNER.scan(job)

Every entry is judged as what it is by the reader of tars; here it is the archive as a whole. NeMo unpacks it into a
folder before it reads anything. Source: `nemo/core/connectors/save_restore_connector.py` (`_unpack_nemo_file`,
`restore_from`).
"""

from __future__ import annotations

import tarfile

from nbguard.formats import torch_legacy, yaml_nodes
from nbguard.formats.view import buffered
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain
from nbguard.scanners.config_keys import TooMuchError, leads_out, texts
from nbguard.scanners.facts import Facts

CONFIGURATION = "model_config.yaml"
_ARTIFACT = "nemo:"
"""How a configuration names an entry of its own archive."""


class NemoScanner:
    name = "nemo"

    def recognise(self, job: Job) -> bool:
        return torch_legacy.is_tar(job.head) and CONFIGURATION in self._read(job)[0]

    def scan(self, job: Job) -> Facts:
        names, configuration = self._read(job)
        facts = plain(job, self.name)
        for name in names:
            if leads_out(name):
                _tell(job, facts, "nemo.outside", name, "An entry would be unpacked outside of the archive's folder",
                      "Unpacking it writes over a file of this machine before anything is loaded.")  # fmt: skip
                break
        try:
            found = list(texts(yaml_nodes.read(configuration).value))
        except (ValueError, TooMuchError, RecursionError) as error:
            facts.unverifiable("nemo.configuration", job.path, CONFIGURATION, f"It cannot be read: {str(error)[:150]}.")
            return facts
        for key, text in found:
            entry = text.removeprefix(_ARTIFACT)
            if text.startswith(_ARTIFACT) and leads_out(entry):
                _tell(job, facts, "nemo.outside", text, f"Its {key[:60]} is a file outside of the archive",
                      "What lies there would be opened as a part of the model.")  # fmt: skip
        if not any(n.endswith((".ckpt", ".safetensors", ".pt")) or "distcp" in n for n in names):
            facts.unverifiable("nemo.weights", job.path, "", "The archive holds no weights.")
        return facts

    @staticmethod
    def _read(job: Job) -> tuple[list[str], bytes]:
        """(names of the entries, the configuration); what is broken ends the list: the reader of tars tells."""
        names: list[str] = []
        configuration = b""
        try:
            with tarfile.open(fileobj=buffered(job.view), mode="r:") as archive:
                for info in archive:
                    if len(names) >= job.limits.members:
                        break
                    names.append(info.name.removeprefix("./"))
                    if names[-1] == CONFIGURATION and info.isreg() and info.size <= yaml_nodes.MAX_BYTES:
                        configuration = job.view.read(info.offset_data, info.size)
        except (tarfile.TarError, EOFError, ValueError, OverflowError):
            pass
        return names, configuration


SCANNER = NemoScanner()


def _tell(job: Job, facts: Facts, rule: str, evidence: str, message: str, meaning: str) -> None:
    facts.add(
        Finding(
            rule, Severity.CRITICAL, job.path, "", f"{message}: {evidence[:150]}", evidence=evidence[:500],
            meaning=meaning, remedy="Do not load it.",
        ),
        Verdict.DANGER,
    )  # fmt: skip


FORMATS = (
    Format(
        "nemo",
        "archives of NeMo",
        (".nemo",),
        f"A tar, compressed or not, with the entry `{CONFIGURATION}`.",
        "Names of entries; the configuration: every `_target_` and `target`, resolvers, files of the archive; the"
        " weights"
        " and everything else as what it is.",
        "The arguments of what the configuration makes.",
        "*review*: it makes objects of NeMo or PyTorch; *danger* for harmful names and pickles, and for entries"
        " outside of"
        " the archive; *unverifiable* without readable weights and configuration",
        untested="NeMo is not among the packages of the tests; the honest one is put together as it does.",
    ),
)
