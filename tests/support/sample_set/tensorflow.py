"""TensorFlow: models of its own writers, and graphs that read, write and hide where their paths come from."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tf_forge import constant, entry, field, graph, node, saved_model, varint

from sample_set import COMMAND, MARKER, Sample, written

NEEDS = ("tensorflow",)
KERAS = ("tensorflow", "tf_keras")
Files = dict[str, bytes]


def tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow

    return tensorflow


def contents(folder: str) -> Files:
    root = Path(folder)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@cache
def kept(old: bool = False, text: bool = False) -> Files:
    """A SavedModel with a vocabulary among its assets, by the writer of TensorFlow 2 or of 1."""
    tf = tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "vocab.txt")
        words.write_text("a\nb\n")

        def table() -> Any:
            kind = tf.lookup.TextFileIndex
            read = tf.lookup.TextFileInitializer(str(words), tf.string, kind.WHOLE_LINE, tf.int64, kind.LINE_NUMBER)
            return tf.lookup.StaticVocabularyTable(read, 1)

        if not old:
            module = tf.Module()
            module.table, module.weight = table(), tf.Variable(tf.ones(3))
            wanted = tf.TensorSpec([None], tf.string)
            module.f = tf.function(lambda x: module.table.lookup(x), input_signature=[wanted])
            tf.saved_model.save(module, f"{folder}/m", signatures=module.f)
            return contents(f"{folder}/m")
        v1 = tf.compat.v1
        with tf.Graph().as_default() as made, v1.Session(graph=made) as session:
            x = v1.placeholder(tf.string, [None])
            y = table().lookup(x)
            v1.get_variable("v", initializer=tf.ones(3))
            session.run([v1.global_variables_initializer(), v1.tables_initializer()])
            builder = v1.saved_model.Builder(f"{folder}/m")
            info = v1.saved_model.build_tensor_info
            signature = v1.saved_model.build_signature_def({"x": info(x)}, {"y": info(y)})
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"s": signature}, made.get_collection("asset_filepaths"),
                main_op=v1.tables_initializer(),
            )  # fmt: skip
            builder.save(as_text=text)
        return contents(f"{folder}/m")


@cache
def keras_model() -> Files:
    """A model as tf.keras saves it: layers that keep a state, a loop, and the operations that save it again."""
    tensorflow()
    import tf_keras

    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Embedding(10, 4), layers.LSTM(4), layers.Dense(2, activation="relu")])
    model.build((1, 5))
    model.compile("adam", "mse")
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m")
        return contents(f"{folder}/m")


@cache
def frozen(text: bool = False) -> bytes:
    tf = tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        with tf.Graph().as_default() as made:
            x = tf.compat.v1.placeholder(tf.float32, [None, 3], "x")
            tf.nn.relu(x @ tf.constant([[1.0, 2.0]] * 3) + tf.constant([0.5, -0.5]), name="y")
            tf.strings.join([tf.constant(["a", 'quote " and \\ and é', "\0\1"]), tf.constant("b")], name="words")
        tf.io.write_graph(made.as_graph_def(), folder, "g", as_text=text)
        return Path(folder, "g").read_bytes()


@cache
def checkpoint() -> Files:
    tf = tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        held = tf.train.Checkpoint(
            a=tf.Variable(tf.ones((3, 5))), b=tf.Variable(7, dtype=tf.int64), c=tf.Variable(["text", "more"])
        )
        held.write(f"{folder}/ckpt")
        return contents(folder)


def put(files: Callable[[], Files], **changed: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """A `build` for a folder; of files whose name ends in one of `changed`, the content is changed."""

    def build(folder: Path) -> Path:
        for name, data in files().items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            for ending, change in changed.items():
                data = change(data) if name.rpartition(".")[2].startswith(ending) else data
            place.write_bytes(data)
        return folder

    return build


# graphs that no writer writes

X = node("x", "Placeholder")


def value(name: str, op: str, *fields: bytes) -> bytes:
    """An operation whose attribute `value` is put together from the fields of an `AttrValue`."""
    return field(1, name) + field(2, op) + entry(5, "value", b"".join(fields)) + entry(5, "dtype", field(6, 7))


def packed(name: str, text: str) -> bytes:
    """A constant whose text is packed, as other types' numbers are."""
    tensor = field(1, 7) + field(2, b"") + field(4, varint(len(text)) + text.encode())
    return value(name, "Const", field(8, tensor))


def in_two_parts(name: str, text: str) -> bytes:
    """A constant that comes twice, first its type and then its text, which Protocol Buffers merge."""
    return value(name, "Const", field(8, field(1, 7)), field(8, field(8, text)))


def join(name: str, *inputs: str, separator: str = "") -> bytes:
    return node(name, "StringJoin", *inputs, separator=separator) + entry(5, "N", field(3, len(inputs)))


READ = node("read", "ReadFile", "path:0")
TABLE = [node("table", "HashTableV2"), node("fill", "InitializeTableFromTextFileV2", "table:0", "path:0")]
SAVE = [constant("names", "w"), node("save", "SaveV2", "path:0", "names:0")]
SECRET = "/etc/passwd"
JOINED = [constant("a", ""), constant("b", "")]


def left_open() -> bytes:
    """The file that an operation prints to is named by who calls the function that it is in."""
    prints = field(1, "p") + field(2, "PrintV2") + field(3, "x") + entry(5, "output_stream", field(9, "where"))
    caller = node("c", "f", "x:0", where="file:///tmp/nbguard")
    return graph([constant("x", "text"), caller], {"f": (["x"], [prints])})


def two_assets() -> bytes:
    """Two assets of one tensor: the first leads out, the second one hides it."""
    hidden = field(6, field(1, field(1, "v:0")) + field(2, "../../../etc/passwd"))
    shown = field(6, field(1, field(1, "v:0")) + field(2, "vocab.txt"))
    return field(1, 1) + field(2, field(2, graph([X])) + hidden + shown)


def asset_that_is_read() -> bytes:
    """A constant claims to stand for an asset, and is read by an operation that no asset is put in for."""
    meta = field(2, graph([constant("path", SECRET), READ]))
    return field(1, 1) + field(2, meta + field(6, field(1, field(1, "path:0")) + field(2, "vocab.txt")))


def filled_again() -> bytes:
    """A table is filled from the path of the writer's machine whenever the signature is called."""
    again = node("y", "Identity", "x:0", "^fill")
    meta = field(2, graph([X, constant("path", SECRET), *TABLE, again]))
    signature = field(5, field(1, "s") + field(2, field(2, field(1, "y") + field(2, field(1, "y:0")))))
    return field(1, 1) + field(2, meta + field(6, field(1, field(1, "path:0")) + field(2, "passwd")) + signature)


def same_name() -> bytes:
    """In a function, a constant has the name of the argument that the path comes from."""
    return graph(
        [constant("evil", "/home/someone/.bashrc"), node("c", "PartitionedCall", "evil:0", functions=["f"])],
        {"f": (["path"], [constant("path", ".part"), *SAVE[:1], node("save", "SaveV2", "path", "names:output:0")])},
    )


def layer() -> str:
    function = ["c29tZSBjb2Rl", None, None]
    return json.dumps({"class_name": "Lambda", "config": {"function": function, "function_type": "lambda"}})


def metadata(text: str) -> bytes:
    return field(1, field(4, "_tf_keras_layer") + field(5, text))


IMPORTS = json.dumps(
    {"class_name": "Activation", "config": {"f": {"class_name": "function", "module": "os", "config": "system"}}}
)
GRAPHS: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {
    "writes-a-file": (
        "danger", "tensorflow.operation", "An operation writes a file.",
        lambda: graph([constant("path", MARKER), constant("text", "x"), node("w", "WriteFile", "path:0", "text:0")]),
    ),
    "writes-in-a-function": (
        "danger", "tensorflow.operation", "The operation that writes stands in a function of the library.",
        lambda: graph([X], {"f": (["x"], [node("w", "WriteFile", "x", "x")])}),
    ),
    "python": (
        "danger", "tensorflow.operation", "An operation runs a Python function of the process.",
        lambda: graph([X, node("p", "EagerPyFunc", "x:0", token="pyfunc_0")]),
    ),
    "ends-the-process": (
        "danger", "tensorflow.operation", "An operation ends the process, and the notebook's kernel with it.",
        lambda: graph([node("a", "Abort", error_msg="bye")]),
    ),
    "prints-to-a-file": (
        "danger", "tensorflow.writes", "An operation prints into a file.",
        lambda: graph([X, node("p", "PrintV2", "x:0", output_stream=f"file://{MARKER}")]),
    ),
    "prints-where-the-caller-says": (
        "danger", "tensorflow.writes", "The file that is printed to is filled in by the caller of a function.",
        left_open,
    ),
    "reads-a-file": (
        "danger", "tensorflow.reads", "An operation reads a file of the machine.",
        lambda: graph([constant("path", SECRET), READ]),
    ),
    "reads-a-packed-path": (
        "danger", "tensorflow.reads", "The path is packed the way in which numbers are.",
        lambda: graph([packed("path", SECRET), READ]),
    ),
    "path-in-two-parts": (
        "unverifiable", "tensorflow.malformed", "The constant comes in two parts, which Protocol Buffers merge.",
        lambda: graph([in_two_parts("path", SECRET), READ]),
    ),
    "reads-between-nothing": (
        "danger", "tensorflow.reads", "The path stands between two empty texts that are joined.",
        lambda: graph([*JOINED, join("path", "a:0", "b:0", separator=SECRET), *TABLE]),
    ),
    "saves-between-nothing": (
        "danger", "tensorflow.writes", "The path that is written stands between two empty texts that are joined.",
        lambda: graph([*JOINED, join("path", "a:0", "b:0", separator="/home/someone/.bashrc"), *SAVE]),
    ),
    "saves-elsewhere": (
        "danger", "tensorflow.writes", "The saver writes to a path of the file's own.",
        lambda: graph([constant("path", "/home/someone/.bashrc"), *SAVE]),
    ),
    "argument-and-constant": (
        "unverifiable", "tensorflow.malformed", "A constant hides the argument that a path comes from.", same_name,
    ),
    "two-of-one-name": (
        "unverifiable", "tensorflow.malformed", "A harmless constant has the name of a harmful one.",
        lambda: graph([constant("path", SECRET), constant("path", ".part"), *TABLE]),
    ),
    "matches-files": (
        "danger", "tensorflow.reads", "An operation lists the files of a folder.",
        lambda: graph([constant("path", "/home/*/.ssh/*"), node("m", "MatchingFiles", "path:0")]),
    ),
    "cut-off": (
        "unverifiable", "tensorflow.malformed", "The file breaks off.",
        lambda: graph([X, node("y", "Relu", "x:0")])[:-4],
    ),
    "operation-of-a-library": (
        "review", "tensorflow.custom-operation", "An operation that TensorFlow does not have.",
        lambda: graph([X, node("y", "MyOwnOp", "x:0")]),
    ),
    "operation-by-its-native-name": (
        "review", "tensorflow.custom-operation", "An operation calls a native function by its name.",
        lambda: graph([X, node("y", "XlaCustomCallV3", "x:0", call_target_name="system")]),
    ),
}  # fmt: skip
TEXT = 'node { name: "path" op: "Const" attr { key: "value" value { tensor { dtype: DT_STRING %s } } } }\n'
READS = 'node { name: "read" op: "ReadFile" input: "path" }\n'
TEXTS: dict[str, tuple[str, str, str, str]] = {
    "text": (
        "danger", "tensorflow.reads", "The graph is written as text.", TEXT % 'string_val: "/etc/passwd"' + READS
    ),
    "text-with-escapes": (
        "danger", "tensorflow.reads", "The path in the text is written in escapes and in pieces.",
        TEXT % r"""string_val: "\057etc" '\x2fpass' # a remark"
        "wd";""" + READS,
    ),
    "text-with-other-brackets": (
        "danger", "tensorflow.reads", "Messages stand in other brackets, and values in lists.",
        TEXT.replace("tensor {", "tensor: <").replace("} } } }", "> } } }") % "string_val: ['/etc/passwd']" + READS,
    ),
    "text-behind-remarks": (
        "danger", "tensorflow.reads", "The graph begins behind more remarks than a glance takes in, and in one line.",
        "# nothing here\n" * 9000 + "versions { producer: 7 } " + (TEXT % 'string_val: "/etc/passwd"').strip() + READS,
    ),
    "text-cut-off": (
        "unverifiable", "tensorflow.malformed", "The text breaks off.", (TEXT % 'string_val: "x"' + READS)[:-4]
    ),
    "text-too-deep": (
        "unverifiable", "tensorflow.malformed", "The text is nested deeper than readers can follow.",
        READS + "library {" + " function {" * 100_000,
    ),
}  # fmt: skip
MODELS: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {
    "asset-outside": (
        "danger", "tensorflow.asset", "An asset lies outside of the model's folder.",
        lambda: saved_model([constant("v", "x")], assets={"v": "../../../etc/passwd"}),
    ),
    "asset-hidden-by-another": ("danger", "tensorflow.asset", "Two assets have one tensor.", two_assets),
    "asset-that-is-read": (
        "danger", "tensorflow.reads", "A constant claims to be an asset, and is read as it is.", asset_that_is_read,
    ),
    "asset-that-is-filled-again": (
        "danger", "tensorflow.reads", "A table is filled from the constant, not from the asset.", filled_again,
    ),
    "writes-when-called": (
        "danger", "tensorflow.operation", "A function of the model writes a file.",
        lambda: saved_model([X], {"f": (["x"], [node("w", "WriteFile", "x", "x")])}),
    ),
    "layer-in-its-description": (
        "unverifiable", "keras.config", "A Keras description brings byte code that cannot be read.",
        lambda: saved_model([X], objects=[("_tf_keras_layer", layer())]),
    ),
    "nothing": ("unverifiable", "tensorflow.malformed", "There is no graph.", lambda: field(1, 1)),
}  # fmt: skip


# proofs


def ran(path: Path) -> None:
    """Run every operation of a frozen graph; what TensorFlow cannot run alone is left."""
    tf = tensorflow()
    read = tf.compat.v1.GraphDef()
    read.ParseFromString(path.read_bytes())
    with tf.Graph().as_default() as made, tf.compat.v1.Session(graph=made) as session:
        tf.import_graph_def(read, name="")
        session.run([o.name for o in made.get_operations() if o.type in ("WriteFile", "Save")])
    assert Path(MARKER).exists()


def reads(path: Path) -> None:
    """The packed path is the one that is read."""
    tf = tensorflow()
    read = tf.compat.v1.GraphDef()
    read.ParseFromString(path.read_bytes())
    with tf.Graph().as_default() as made, tf.compat.v1.Session(graph=made) as session:
        tf.import_graph_def(read, name="")
        assert b"root" in session.run("read:0")


def proven_write() -> bytes:
    """TensorFlow's own writer for the graph that saves between nothing."""
    tf = tensorflow()
    with tf.Graph().as_default() as made:
        path = tf.strings.join([tf.constant(""), tf.constant("")], separator=MARKER)
        tf.raw_ops.Save(filename=path, tensor_names=["w"], data=[tf.ones(2)])
    return bytes(made.as_graph_def().SerializeToString())


def proven_packed() -> bytes:
    tf = tensorflow()
    made = tf.compat.v1.GraphDef()
    path = made.node.add(name="path", op="Const")
    path.attr["dtype"].type = 7
    path.attr["value"].tensor.dtype = 7
    path.attr["value"].tensor.tensor_shape.SetInParent()
    path.attr["value"].tensor.tensor_content = bytes([len(SECRET)]) + SECRET.encode()
    made.node.add(name="read", op="ReadFile", input=["path"])
    return bytes(made.SerializeToString())


def at_load(folder: Path) -> Path:
    """A resource's initialiser writes a file as soon as the model is loaded."""
    tf = tensorflow()

    class Resource(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self) -> Any:
            return tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.int64, shared_name="t")

        def _initialize(self) -> None:
            tf.io.write_file(MARKER, "ran")

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as other:
        os.chdir(other)
        try:
            module = tf.Module()
            module.resource = Resource()
            module.f = tf.function(
                lambda x: (x, module.resource.resource_handle)[0], input_signature=[tf.TensorSpec([], tf.int64)]
            )
            tf.saved_model.save(module, str(folder / "m"))
        finally:
            os.chdir(here)
    return folder / "m"


def loaded(path: Path) -> None:
    tensorflow().saved_model.load(str(path))
    assert Path(MARKER).exists()


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (COMMAND,)


def moved(index: bytes) -> bytes:
    """The first tensor's offset in a checkpoint's index, far behind its data."""
    return index.replace(b"\x28\x3c", b"\x28\x3d", 1)


SAMPLES = (
    Sample("tf/honest", "saved-model", put(kept), ("safe",), honest=True, needs=NEEDS),
    Sample("tf/honest-1", "saved-model", put(lambda: kept(True)), ("safe",), honest=True, needs=NEEDS),
    Sample("tf/honest-1-text", "saved-model", put(lambda: kept(True, True)), ("safe",), honest=True, needs=NEEDS),
    Sample("tf/honest-keras", "saved-model", put(keras_model), ("safe",), honest=True, needs=KERAS),
    Sample("tf/honest-frozen", "tf-graph", written("g.pb", frozen), ("safe",), honest=True, needs=NEEDS),
    Sample(
        "tf/honest-frozen-text", "tf-graph", written("g.pbtxt", lambda: frozen(True)), ("safe",), honest=True,
        needs=NEEDS,
    ),
    Sample(
        "tf/honest-metadata", "keras-metadata",
        written("keras_metadata.pb", lambda: keras_model()["keras_metadata.pb"]), ("safe",), honest=True, needs=KERAS,
    ),
    Sample(
        "tf/honest-fingerprint", "fingerprint", written("fingerprint.pb", lambda: kept()["fingerprint.pb"]), ("safe",),
        honest=True, needs=NEEDS,
    ),
    Sample("tf/honest-checkpoint", "tf-checkpoint", put(checkpoint), ("safe",), honest=True, needs=NEEDS),
    Sample("tf/honest-data", "tf-checkpoint-data", put(checkpoint), ("safe",), honest=True, needs=NEEDS),
    *(
        Sample(f"tf/{name}", "tf-graph", written("g.pb", make), (verdict,), rule=rule, trick=trick)
        for name, (verdict, rule, trick, make) in GRAPHS.items()
    ),
    *(
        Sample(
            f"tf/{name}", "tf-graph", written("g.pbtxt", lambda text=text: text.encode()), (verdict,), rule=rule,
            trick=trick,
        )
        for name, (verdict, rule, trick, text) in TEXTS.items()
    ),
    *(
        Sample(f"tf/{name}", "saved-model", written("saved_model.pb", make), (verdict,), rule=rule, trick=trick)
        for name, (verdict, rule, trick, make) in MODELS.items()
    ),
    Sample(
        "tf/several-pieces", "saved-model", written("saved_model.cpb", lambda: b"\x08\x01"), ("unverifiable",),
        rule="tensorflow.form", trick="A model in several pieces, which TensorFlow loads in the place of the other.",
    ),
    Sample(
        "tf/writes-between-nothing", "tf-graph", written("g.pb", proven_write), ("danger",), rule="tensorflow.writes",
        trick="A saver's path stands between two empty texts that are joined.", needs=NEEDS, loads=ran,
    ),
    Sample(
        "tf/reads-packed", "tf-graph", written("g.pb", proven_packed), ("danger",), rule="tensorflow.reads",
        trick="A path is packed the way in which numbers are.", needs=NEEDS, loads=reads,
    ),
    Sample(
        "tf/writes-at-load", "saved-model", at_load, ("danger",), rule="tensorflow.operation",
        trick="An initialiser writes a file as soon as the model is loaded.", needs=NEEDS, loads=loaded,
    ),
    Sample(
        "tf/metadata-lambda", "keras-metadata", written("keras_metadata.pb", lambda: metadata(layer())),
        ("unverifiable",), rule="keras.config", trick="A layer brings byte code that cannot be read.",
    ),
    Sample(
        "tf/metadata-imports", "keras-metadata", written("keras_metadata.pb", lambda: metadata(IMPORTS)), ("danger",),
        rule="keras.import", trick="A layer names a function of another module.",
    ),
    Sample(
        "tf/metadata-cut-off", "keras-metadata", written("keras_metadata.pb", lambda: metadata(layer())[:-9]),
        ("unverifiable",), rule="tensorflow.malformed", trick="The file breaks off.",
    ),
    Sample(
        "tf/fingerprint-that-is-a-graph", "fingerprint", written("fingerprint.pb", GRAPHS["writes-a-file"][3]),
        ("danger",), rule="tensorflow.operation", trick="A graph goes by the name of a fingerprint.",
    ),
    Sample(
        "tf/fingerprint-that-is-a-pickle", "fingerprint", written("fingerprint.pb", lambda: pickle.dumps(Payload())),
        ("danger",), trick="A pickle goes by the name of a fingerprint.",
    ),
    Sample(
        "tf/checkpoint-cut-off", "tf-checkpoint", put(checkpoint, index=lambda d: d[:20] + d[40:]), ("unverifiable",),
        rule="tensorflow.checkpoint", trick="Its blocks are not where its end says.", needs=NEEDS,
    ),
    Sample(
        "tf/checkpoint-size-lies", "tf-checkpoint", put(checkpoint, index=moved), ("unverifiable",),
        rule="tensorflow.checkpoint", trick="A tensor is larger than its shape says.", needs=NEEDS,
    ),
    Sample(
        "tf/data-cut-off", "tf-checkpoint-data", put(checkpoint, **{"data-00000": lambda d: d[:-8]}),
        ("unverifiable",), rule="data.cut-off", trick="The data file is shorter than its index says.", needs=NEEDS,
    ),
    Sample(
        "tf/data-that-is-a-pickle", "tf-checkpoint-data",
        put(checkpoint, **{"data-00000": lambda d: pickle.dumps(Payload()) + d}), ("danger",),
        trick="The data file is a pickle for whoever takes it for one.", needs=NEEDS,
    ),
)  # fmt: skip
