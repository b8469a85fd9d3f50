"""`config.pbtxt` of Triton (and of KServe's Triton runtime): which backend runs the model, and with what.

facts = SCANNER.scan(job)

The backend `python` runs `model.py` of the model's version folder, whatever else is there; others load libraries that
the configuration may name. Sources: `triton-inference-server/common/protobuf/model_config.proto`, the python backend's
README (`EXECUTION_ENV_PATH`), the ONNX Runtime and TensorRT backends' READMEs.
"""

from __future__ import annotations

from nbguard.formats import pbtxt
from nbguard.report.model import Finding, Severity, Verdict
from nbguard.scanners.base import Format, Job, plain, unverifiable
from nbguard.scanners.config_keys import leads_out
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import table

NAME = "config.pbtxt"
_HERE = "$$TRITON_MODEL_DIRECTORY/"
_LIBRARIES = ("model_operations.op_library_filename",)


class TritonScanner:
    name = "triton-config"

    def recognise(self, job: Job) -> bool:
        return job.name.rsplit("/", 1)[-1].lower() == NAME and b"\0" not in job.head

    def scan(self, job: Job) -> Facts:
        try:
            fields = pbtxt.read(job.view.read(0, min(job.size, pbtxt.MAX_BYTES + 1)))
        except ValueError as error:
            return unverifiable(job, self.name, "triton.malformed", str(error)[:200])
        facts = plain(job, self.name)
        key = ""
        for name, value in fields:
            if name == "parameters.key":
                key = value
            _field(job, facts, name, f"{name} {key}" if name.startswith("parameters.value") else name, key, value)
        return facts


SCANNER = TritonScanner()


def _field(job: Job, facts: Facts, name: str, where: str, key: str, value: str) -> None:
    known = table("frameworks")["triton"]
    if name in ("backend", "platform"):
        if value == "python":
            _tell(job, facts, "triton.python", where, value, Verdict.REVIEW, "runs the Python code beside the model",
                  "The server imports model.py of the model's folder when it loads the model.")  # fmt: skip
        elif not value.replace("_", "").isalnum():
            _tell(job, facts, "triton.outside", where, value, Verdict.DANGER, "takes its backend from another place",
                  "The server loads the library that lies there, and runs it.")  # fmt: skip
        elif value not in known["backends"]:
            _tell(job, facts, "triton.backend", where, value, Verdict.REVIEW, "is run by a backend that is not known",
                  "The server loads the library of that name.")  # fmt: skip
    elif name in _LIBRARIES or (name.startswith("parameters.value") and key in known["libraries"]):
        out = leads_out(value.removeprefix(_HERE))
        _tell(job, facts, "triton.outside" if out else "triton.library", where, value,
              Verdict.DANGER if out else Verdict.REVIEW, "has the server load a library or an environment of its own",
              "That is machine code, or another Python, and is run as the server.")  # fmt: skip
    elif name.endswith("default_model_filename") and value.endswith(".py") and not leads_out(value):
        facts.references.append(f"served:{value.rsplit('/', 1)[-1]}")
    elif _is_path(name, value) and leads_out(value.removeprefix(_HERE)):
        _tell(job, facts, "triton.outside", where, value, Verdict.DANGER, "names a file outside of its folder",
              "What lies there would be opened in the place of the model's own files.")  # fmt: skip


def _is_path(name: str, value: str) -> bool:
    last = name.rpartition(".")[2]
    named = last.endswith(("filename", "filenames", "_path", "_file", "data_file"))
    return named or (last in ("string_value", "value") and ".." in value.replace("\\", "/").split("/"))


def _tell(job: Job, facts: Facts, rule: str, where: str, value: str, verdict: Verdict, does: str, meaning: str) -> None:
    facts.add(
        Finding(
            rule,
            Severity.HIGH if verdict is Verdict.DANGER else Severity.MEDIUM,
            job.path,
            where[:100],
            f"This model {does}: {value[:150]}",
            evidence=f"{where}: {value}"[:500],
            meaning=meaning,
            remedy="Do not serve it." if verdict is Verdict.DANGER else "Read that code before you serve the model.",
        ),
        verdict,
    )


FORMATS = (
    Format(
        "triton-config",
        "configurations of Triton and KServe",
        (NAME,),
        "By its name, as the server does; it is a protocol buffer in text.",
        "The backend; libraries and environments that are loaded; every path.",
        "What a backend does with its parameters. The model and its code are judged by themselves.",
        "*safe*; *review* for the python backend and libraries beside the model; *danger* for libraries and files"
        " elsewhere; *unverifiable* where the text cannot be read",
        untested="Triton writes no such file: people do, and the server only reads it.",
    ),
)
