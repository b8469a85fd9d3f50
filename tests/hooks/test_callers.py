"""Whose load it is, told by the file that the calling code lies in."""

from __future__ import annotations

import os
import sysconfig

import pytest

from nbguard.hooks import caller

PACKAGES = sysconfig.get_paths()["purelib"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("distributed/protocol/pickle.py", "machinery"),
        ("ray/_private/serialization.py", "machinery"),
        ("joblib/externals/loky/process_executor.py", "machinery"),
        ("torch/multiprocessing/queue.py", "machinery"),
        ("distributed/client.py", "library"),
        ("distributed_of_somebody/protocol/pickle.py", "library"),
        ("gensim/utils.py", "library"),
    ],
)
def test_workers_and_clusters_unpickle_for_their_own_ends(path: str, kind: str) -> None:
    code = compile("found = kind_of(sys._getframe())", os.path.join(PACKAGES, path), "exec")
    space = {"kind_of": caller.kind_of, "sys": __import__("sys")}
    exec(code, space)
    assert space["found"] == kind


def test_the_same_names_beside_a_notebook_are_the_persons_own(tmp_path: os.PathLike[str]) -> None:
    code = compile("found = kind_of(sys._getframe())", os.path.join(tmp_path, "distributed/protocol/pickle.py"), "exec")
    space = {"kind_of": caller.kind_of, "sys": __import__("sys")}
    exec(code, space)
    assert space["found"] == "person"
