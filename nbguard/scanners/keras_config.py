"""What a Keras configuration would build and call: layers by name, functions by name, byte code.

    judge(job, json.loads(text), facts, place="config.json")

Keras builds a model from JSON: every object in it names a class or a function, and a `Lambda` layer carries marshalled
byte code. Which of these a version of Keras would look up, import or refuse has changed a dozen times, so that all of
it is judged here whatever the version. Sources: `keras/src/saving/serialization_lib.py`, `keras/src/legacy/saving/`,
`keras/src/layers/core/lambda_layer.py`, `tf_keras/src/layers/core/tf_op_layer.py`, and the advisories on each of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from nbguard import rules
from nbguard.formats.marshal_code import Code, MarshalError, read
from nbguard.report.model import CodeFile, Finding, GlobalUse, Severity, Verdict
from nbguard.scanners.base import Job
from nbguard.scanners.facts import Facts
from nbguard.scanners.tables import of_python, table

MAX_NODES = 2_000_000
"""Objects and values of one configuration that are looked at."""
_PLAIN = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__",
     "TensorShape", "TypeSpec", "CompositeTensor"}
)  # fmt: skip
"""Values in the clothes of an object."""
_VOCABULARIES = frozenset({"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"})
_PATHS = ("vocabulary", "merges", "filepath", "vocabulary_path", "merges_path", "filename", "file_path")
"""Keys by which layers and tokenizers of the family take files, in the Hub's libraries too."""
_AWAY = re.compile(r"[a-zA-Z][\w+.-]*://|/|~|\\|[A-Za-z]:|.*(^|[/\\])\.\.([/\\]|$)")
"""A path that leads out of the model."""
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
SAFE_MODE = "Keras refuses it unless safe_mode=False is given."


def judge(job: Job, config: Any, facts: Facts, *, place: str = "") -> None:
    """Add what a parsed configuration would do to `facts`. Raises ValueError where it is larger than is looked at."""
    _Judge(job, facts, place).walk(config)


class _Judge:
    def __init__(self, job: Job, facts: Facts, place: str) -> None:
        self.job, self.facts, self.place = job, facts, place
        self.rules = table("keras")
        self.layers = 0

    def walk(self, config: Any) -> None:
        pending: list[Any] = [config]
        count = 0
        while pending:
            node = pending.pop()
            count += 1
            if count > MAX_NODES:
                raise ValueError("The configuration is larger than any real one")
            if isinstance(node, list):
                pending += node
            elif isinstance(node, dict):
                self.object(node)
                pending += node.values()
        self.facts.counts["layers"] = self.facts.counts.get("layers", 0) + self.layers

    def object(self, node: dict[str, Any]) -> None:
        """Judge one JSON object by itself; what is in it comes on its own."""
        name = node.get("class_name")
        inner = node.get("config")
        if name == "__lambda__":
            self.code(inner.get("value", inner.get("code")) if isinstance(inner, dict) else inner, node)
        elif name == "__typespec__":
            self.typespec(node)
        elif name == "function" and "config" in node:
            self.function(node.get("module"), inner, node)
        elif isinstance(name, str) and "config" in node:
            self.instance(node.get("module"), name, node)
        elif name is not None and not isinstance(name, str):
            self.unclear("A class is named by something that is no text.", repr(name))
        if isinstance(node.get("function_type"), str) or isinstance(node.get("output_shape_type"), str):
            self.legacy_lambda(node)

    # what is named

    def instance(self, module: Any, name: str, node: dict[str, Any]) -> None:
        """An object of a class."""
        if name in _PLAIN:
            return
        inner = node["config"] if isinstance(node["config"], dict) else {}
        registered = node.get("registered_name")
        spelled = str(module) if module is not None else ""
        if module is not None and not (isinstance(module, str) and (not module or _MODULE.match(module))):
            self.unclear("A class is looked for in a module whose name is none.", repr(module))
            return
        plain = name.rpartition(">")[2]
        self.special(plain, inner)
        if name.startswith("Custom>") and plain in self.rules["classes"]:
            name = plain  # how Keras 2 writes its own optimizers
        own = spelled.partition(".")[0] in self.rules["packages"] or not spelled
        if own and plain == name and self._known_class(name):
            self.layers += 1
            self.use(spelled or "keras", name, "newobj", "data", "a class of Keras itself")
            if isinstance(registered, str) and registered not in (name, ""):
                self.custom(spelled, registered, "newobj")
        elif own and plain in self.rules["functions"] and spelled in self.rules["function_modules"]:
            self.use(spelled, plain, "named", "data", "a function of Keras that computes")
        elif spelled and ((own and plain[:1].islower()) or spelled.partition(".")[0] in _OPEN):
            self.gadget(spelled, plain, node)  # a function in the clothes of a class, which Keras hands out as it is
        elif own and spelled and not self._custom(registered):
            level, why = "library", "a class of a package that Keras imports from by itself"
            if spelled.startswith(("tensorflow", "keras.utils", "keras.saving", "keras.src.utils")):
                level, why = "unknown", "no layer that is known here"
            self.use(spelled, name, "newobj", level, why)
            self.review(
                "keras.class",
                f"It builds an object of {spelled}.{name}, which is not among the layers that are known here."[:300],
            )
        elif spelled and self._harmful(spelled, name):
            self.gadget(spelled, name, node)
        else:
            self.custom(spelled, registered if isinstance(registered, str) and registered else name, "newobj")

    def function(self, module: Any, name: Any, node: dict[str, Any]) -> None:
        """A function that is looked up, and called when the model is built or used."""
        spelled = str(module) if module is not None else ""
        if not isinstance(name, str) or (spelled and not _MODULE.match(spelled)):
            self.unclear("A function is named in a way that is not understood.", repr(node)[:300])
            return
        root = spelled.partition(".")[0]
        listed = name in self.rules["functions"] or self._known_class(name)
        if listed and (spelled in ("builtins", "") or spelled in self.rules["function_modules"]):
            self.use(spelled or "keras", name, "named", "data", "a function of Keras that computes")
            return
        if spelled and (self._harmful(spelled, name) or root in self.rules["packages"] or root in _OPEN):
            self.gadget(spelled, name, node)
        else:
            self.custom(spelled, name, "named")

    def typespec(self, node: dict[str, Any]) -> None:
        module, name = str(node.get("module", "")), str(node.get("spec_name", ""))
        known = self.rules["typespecs"]
        if module.partition(".")[0] in (*known["module"], "") and name in known["names"]:
            self.use(module or "tensorflow", name, "newobj", "data", "the shape of an input")
        else:
            self.gadget(module, name, node)

    def special(self, name: str, inner: dict[str, Any]) -> None:
        """Layers of Keras itself that do more than compute."""
        if name in _VOCABULARIES and isinstance(inner.get("vocabulary"), str):
            self.path("keras.vocabulary-file", name, inner["vocabulary"], "reads its vocabulary from the file")
        elif name == "TorchModuleWrapper":
            self.torch_module(inner.get("module"))
        elif name == "TFSMLayer":
            self.path("keras.saved-model", name, inner.get("filepath"), "loads another model, from")
        elif name in ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"):
            self.tensorflow_call(str(inner.get("function", inner.get("method_name", "getitem"))))
        elif name in ("JaxLayer", "FlaxLayer"):
            self.review("keras.foreign-layer", f"The layer {name} calls functions that are no part of Keras.")
        else:
            for key in _PATHS:
                if isinstance(inner.get(key), str) and _AWAY.match(inner[key]):
                    self.path("keras.file", name[:100], inner[key], "takes something from the file")

    # what is done about it

    def gadget(self, module: str, name: str, node: dict[str, Any]) -> None:
        trap = rules.gadget(module, name)
        self.use(module, name, "reduce", "gadget", trap.why if trap else "no model needs it for computing")
        does = f", which {trap.what}" if trap else ""
        self.facts.add(
            Finding(
                "keras.import",
                Severity.CRITICAL,
                self.job.path,
                self.place,
                f"The configuration has {module[:100]}.{name[:100]} looked up and called{does}.",
                evidence=ascii(node)[:500],
                meaning="Versions of Keras that import what a configuration names run it while the model is built.",
                remedy="Do not load it.",
            ),
            Verdict.DANGER,
        )

    def custom(self, module: str, name: str, verb: str) -> None:
        """A class or function that the person has to bring, and that then gets arguments from the file."""
        self.use(module or "(registered)", name, verb, "unknown", "comes from the person's own code")
        what = "class" if verb == "newobj" else "function"
        self.review(
            "keras.custom",
            f"It needs the {what} {name[:150]}{f' of {module[:100]}' if module else ''}, which is none of Keras.",
            "Your own code of that name is called with what the file says.",
            severity=Severity.LOW,
        )

    def path(self, rule: str, name: str, target: Any, does: str) -> None:
        text = str(target)
        away = _AWAY.match(text) is not None
        self.facts.add(
            Finding(
                rule,
                Severity.HIGH if away else Severity.MEDIUM,
                self.job.path,
                self.place,
                f"The layer {name} {does} {text[:200]}."[:400],
                meaning="What lies there was not looked at; a file of yours, or an address, can get into the model.",
                remedy=f"Do not load it. {SAFE_MODE}",
            ),
            Verdict.DANGER if away else Verdict.UNVERIFIABLE,
        )

    def tensorflow_call(self, function: str) -> None:
        known = self.rules["tf_operations"]
        module, _, name = function.rpartition(".")
        if function in known["names"] or module in known["modules"] or name.startswith("__getitem"):
            return
        if function in ("getitem", "__operators__.getitem", "slice"):
            return
        self.facts.add(
            Finding(
                "keras.tensorflow-call",
                Severity.HIGH,
                self.job.path,
                self.place,
                f"A layer calls TensorFlow's function {function[:150]}, which is not one that only computes.",
                meaning="TensorFlow's interface also reads and writes files and runs Python functions.",
                remedy="Do not load it unless you know why the model needs that.",
            ),
            Verdict.DANGER,
        )

    def review(self, rule: str, message: str, meaning: str = "", severity: Severity = Severity.MEDIUM) -> None:
        finding = Finding(rule, severity, self.job.path, self.place, message[:400], meaning=meaning)
        if finding not in self.facts.findings:
            self.facts.add(finding, Verdict.REVIEW)

    def unclear(self, message: str, evidence: str = "") -> None:
        self.facts.unverifiable("keras.config", self.job.path, self.place, message, evidence=evidence[:300])

    def use(self, module: str, name: str, verb: str, level: str, why: str) -> None:
        module, name = module[:200], name[:200]
        self.facts.globals.append(GlobalUse(module, name, ((module, name),), (verb,), level, why))

    # code that rides along

    def legacy_lambda(self, node: dict[str, Any]) -> None:
        """How Keras 1 and 2 wrote functions: `function` beside `function_type`."""
        for field in ("function", "output_shape", "mask"):
            kind, value = node.get(f"{field}_type"), node.get(field)
            if kind == "lambda":
                self.code(value, node)
            elif kind == "function" and isinstance(value, str):
                self.function(node.get("module") if field == "function" else node.get(f"{field}_module"), value, node)

    def code(self, value: Any, node: dict[str, Any]) -> None:
        """Marshalled byte code: the text itself, or a list of it, its defaults and its closure."""
        value = value.get("items") if isinstance(value, dict) and value.get("class_name") == "__tuple__" else value
        text = value[0] if isinstance(value, list) and value else value
        raw = decoded(text) if isinstance(text, str) else None
        if raw is None:
            self.unclear("A Lambda layer's code is not where it should be.", repr(node)[:300])
            return
        digest = hashlib.sha256(raw).hexdigest()
        if any(c.sha256 == digest for c in self.facts.code):
            return  # the same again: Keras 2 describes a layer in several places
        where = f"{self.job.path}!{self.place}" if self.place else self.job.path
        self.facts.code.append(CodeFile(f"{where}:{digest[:12]}", digest, "bytecode"))
        self.facts.regions["code"] = self.facts.regions.get("code", 0) + len(raw)
        try:
            code = read(raw)
        except MarshalError as error:
            self.unclear(f"A Lambda layer's code cannot be read. {error}")
            return
        self.bytecode(code)

    def bytecode(self, code: Code) -> None:
        harmful = self.rules["code"]["harmful"]
        named = sorted(code.all_names() & harmful)
        texts = [t for t in code.all_texts() if t in harmful - {"exit", "signal"} or ("__" in t and t.strip("_") != t)]
        crafted = code.crafted()
        imports = sorted(n for n in _imported(code) if n.partition(".")[0] not in self.rules["code"]["modules"])
        bad = bool(named or crafted or imports or texts)
        uses = ", ".join([*named, *imports, *texts][:8])
        if crafted:
            message = f"A Lambda layer's byte code was written by no compiler: {crafted}."
        elif bad:
            message = f"A Lambda layer brings byte code that uses {uses[:200]}."
        else:
            message = "A Lambda layer brings Python byte code, which runs when the model is built and used."
        self.facts.add(
            Finding(
                "keras.lambda",
                Severity.CRITICAL if bad else Severity.HIGH,
                self.job.path,
                self.place,
                message,
                evidence=code.listing()[:2000],
                meaning=f"Byte code can do whatever you can, and crash Python where it is malformed. {SAFE_MODE}",
                remedy="Do not load it."
                if bad
                else "Ask for a model without Lambda layers, or rebuild the layer yourself.",
            ),
            Verdict.DANGER if bad else Verdict.REVIEW,
        )

    def torch_module(self, module: Any) -> None:
        """A torch module as base64 of what torch.save wrote; Keras hands it to torch.load(weights_only=False)."""
        from nbguard.scanners.registry import examine

        raw = decoded(module) if isinstance(module, str) else None
        if raw is None:
            self.unclear("A TorchModuleWrapper holds no module that can be read.")
            return
        inner = examine(self.job.inside(raw, member="(TorchModuleWrapper)", container="nested"))
        inner.regions.clear()
        inner.containers.clear()
        self.facts.merge(inner)
        self.review(
            "keras.torch-module", f"A layer unpickles a whole torch module. {SAFE_MODE}", severity=Severity.HIGH
        )

    # what is known

    def _known_class(self, name: str) -> bool:
        return name in self.rules["classes"] or name in _SPECIAL

    @staticmethod
    def _custom(registered: Any) -> bool:
        return isinstance(registered, str) and ">" in registered

    @staticmethod
    def _harmful(module: str, name: str) -> bool:
        return rules.gadget(module, name) is not None or (of_python(module) and module.partition(".")[0] not in _OWN)


_SPECIAL = _VOCABULARIES | {"Lambda", "TorchModuleWrapper", "TFSMLayer", "TFOpLambda", "SlicingOpLambda", "JaxLayer",
                            "FlaxLayer", "ClassMethod", "InstanceMethod", "InstanceProperty", "Network"}  # fmt: skip
_OWN = frozenset({"__main__", "builtins"})
_OPEN = frozenset({"numpy", "scipy", "torch", "pandas", "joblib", "sklearn", "jax", "h5py", "transformers", "requests",
                   "PIL", "cv2", "cloudpickle", "dill", "setuptools", "pip", "IPython", "huggingface_hub"})  # fmt: skip
"""Packages that are there wherever models are loaded: a configuration must not pick functions of theirs."""


def decoded(text: str) -> bytes | None:
    """The bytes that Keras takes a text for: base64, line breaks and all, else the characters themselves."""
    try:
        return base64.decodebytes(text.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        try:
            return text.encode("raw_unicode_escape")
        except UnicodeEncodeError:
            return None


def _imported(code: Code) -> set[str]:
    """Modules that it imports, as far as its instructions can be read; else every name could be one, and is not."""
    found: set[str] = set()
    for line in code.listing().splitlines():
        operation, _, name = line.strip().partition(" ")
        if operation == "IMPORT_NAME":
            found.add(name)
    return found
