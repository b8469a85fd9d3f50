"""A loop over explained data is one question; anything else is asked about each time."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from nbguard.errors import LoadBlocked

numpy = pytest.importorskip("numpy")

pytestmark = pytest.mark.usefixtures("guarded")


def arrays(count: int) -> list[bytes]:
    return [pickle.dumps(numpy.arange(n + 3)) for n in range(count)]


def test_a_loop_over_explained_data_asks_once(person: Any) -> None:
    loaded = [pickle.loads(data) for data in arrays(4)]
    assert [len(a) for a in loaded] == [3, 4, 5, 6]
    assert person.verdicts == ["safe"]


def test_another_line_asks_again(person: Any) -> None:
    first, second = arrays(2)
    pickle.loads(first)
    pickle.loads(second)
    assert person.verdicts == ["safe", "safe"]


def test_what_is_not_safe_is_asked_about_each_time(person: Any, tmp_path: Path) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    contents = [*arrays(2), pickle.dumps(linear.Ridge(1.0)), pickle.dumps(linear.Ridge(2.0))]
    for data in contents:
        pickle.loads(data)
    assert person.verdicts == ["safe", "review", "review"]


def test_a_refusal_covers_nothing(person: Any) -> None:
    person.choice = "refuse"
    for data in arrays(2):
        with pytest.raises(LoadBlocked):
            pickle.loads(data)
    assert person.verdicts == ["safe", "safe"]
