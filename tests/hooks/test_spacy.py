"""spaCy, the real library: a pipeline's folder is read through what was scanned."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import spacy
import spacy.util

from nbguard.errors import LoadBlocked
from nbguard.formats import msgpack
from nbguard.formats.view import BytesView


@pytest.fixture(autouse=True)
def _guarded(guarded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBGUARD_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    nlp.add_pipe("ner").add_label("PER")
    nlp.initialize()
    ruler.add_patterns([{"label": "ORG", "pattern": "Acme"}])
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def config(folder: Path, section: str, line: str) -> None:
    path = folder / "config.cfg"
    text = path.read_text()
    path.write_text(
        text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1)
        if f"[{section}]" in text
        else f"{text}\n[{section}]\n{line}\n"
    )


@pytest.mark.parametrize("load", [spacy.load, spacy.util.load_model])
@pytest.mark.parametrize("kind", [str, Path])
def test_an_honest_pipeline_is_safe_and_loads(person, folder, load, kind):
    nlp = load(kind(folder))
    assert [e.text for e in nlp("Acme is here").ents][:1] == ["Acme"]
    (report,) = person.reports
    assert report.verdict.word == "safe"
    assert {f.format for f in report.files if not f.inert} <= {
        "spacy-config",
        "json",
        "msgpack",
        "npy",
        "text",
        "empty",
    }


def test_safe_pipelines_load_where_nobody_is(nobody, folder):
    assert spacy.load(folder).pipe_names == ["sentencizer", "entity_ruler", "ner"]


@pytest.mark.parametrize(
    ("section", "line", "rule"),
    [
        ("nlp.tokenizer", '@tokenizers = "evil.Tokenizer.v1"', "spacy.registered"),
        ("nlp.before", '@callbacks = "spacy.copy_from_base_model.v1"', "spacy.registered"),
        ("components.ner.more", '@readers = "srsly.read_json.v1"', "spacy.registered"),
        ("components.other", 'source = "another_pipeline"', "spacy.source"),
        ("components.other", 'factory = "evil-package.thing"', "spacy.factory"),
    ],
)
def test_a_configuration_that_calls_what_others_registered_is_shown(person, folder, section, line, rule):
    text = (folder / "config.cfg").read_text().replace('@tokenizers = "spacy.Tokenizer.v1"', "")
    (folder / "config.cfg").write_text(text)
    config(folder, section, line)
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        spacy.load(folder)
    assert person.verdicts == ["review"]
    assert rule in {f.rule for f in person.reports[0].findings}


def test_a_pickle_in_the_place_of_a_components_data(person, folder, marker):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(marker)!r}, 'w')",))

    (folder / "ner" / "model").write_bytes(pickle.dumps(Evil()))
    person.choice = "refuse"
    with pytest.raises(LoadBlocked):
        spacy.load(folder)
    assert person.verdicts == ["danger"]
    assert not marker.exists()


@pytest.mark.parametrize(
    "data", [b"\x81\xa1x\xc7\x03\x05abc", b"\x81\xa4type\xa2|O", b"\x81\xa1x", b"\x81\xa1x\x01junk"]
)
def test_data_that_cannot_be_told_is_not_loaded(person, folder, data):
    (folder / "ner" / "model").write_bytes(data)
    with pytest.raises(LoadBlocked):
        spacy.load(folder)
    assert person.reports == []


def test_two_sections_of_one_name_are_not_loaded(person, folder):
    path = folder / "config.cfg"
    path.write_text(path.read_text() + '\n[nlp]\nlang = "de"\n')
    with pytest.raises(LoadBlocked):
        spacy.load(folder)


def test_a_file_exchanged_after_the_scan_stops_the_load(person, folder, monkeypatch):
    from nbguard.hooks import walk

    accepting = walk.ask

    def exchanged(report, decision, request):
        meta = json.loads((folder / "meta.json").read_text())
        (folder / "meta.json").write_text(json.dumps(meta | {"name": "other"}))
        return accepting(report, decision, request)

    monkeypatch.setattr(walk, "ask", exchanged)
    with pytest.raises(LoadBlocked, match="changed"):
        spacy.load(folder)


def test_an_installed_package_or_nothing_at_all_is_left_to_spacy(person):
    with pytest.raises(OSError, match="E050"):
        spacy.load("no_such_pipeline")
    assert person.reports == []


# --- MessagePack -----------------------------------------------------------------------------------------------------


def test_messagepack_is_gone_through_to_its_end():
    import srsly

    value = {
        "a": [1, -5, 2.5, None, True, "x" * 40, b"y" * 300, list(range(40))],
        "b": {str(n): n for n in range(70000)},
    }
    data = srsly.msgpack_dumps(value)
    found = msgpack.walk(BytesView(data))
    assert found is not None
    assert found.values > 140_000
    for end in (0, 1, 10, len(data) // 2, len(data) - 1):
        assert msgpack.walk(BytesView(data[:end])) is None
    assert msgpack.walk(BytesView(data + b"\0")) is None


@pytest.mark.parametrize(
    "data", [b"\x81" * 5000, b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1"]
)
def test_messagepack_bombs_end(data):
    assert msgpack.walk(BytesView(data)) is None


def test_numpy_arrays_in_it_are_told():
    import numpy as np
    import srsly

    found = msgpack.walk(BytesView(srsly.msgpack_dumps({"w": np.ones(3, dtype="f4"), "n": np.int64(3)})))
    assert found is not None
    assert found.arrays == {"<f4", "<i8"}
    assert found.extensions == set()
