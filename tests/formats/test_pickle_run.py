"""What the machine may take of the memory of the process that it runs in."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator

import pytest

from nbguard.formats.pickle_machine import PASS, Tape
from nbguard.formats.pickle_run import address_space, roomy, run

needs_linux = pytest.mark.skipif(not address_space(), reason="the system does not say how much memory is mapped")
PLENTY = 64 << 30


@pytest.fixture
def limited() -> Iterator[None]:
    """As in the worker: there is a limit, and far more than these programs need is left of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + PLENTY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@needs_linux
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"\x80\x02Nr\xff\xff\xff\x7f.", id="long-binput"),
        pytest.param(b"\x80\x02Nr\xff\xff\xff\x05.", id="long-binput-of-a-gigabyte"),
        pytest.param(b"Np99999999\n.", id="put"),
    ],
)
def test_a_memo_of_gigabytes_is_refused(program: bytes) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert isinstance(run(program, Tape(lambda seen: PASS)), MemoryError)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@needs_linux
@pytest.mark.usefixtures("limited")
def test_what_comes_before_the_memo_still_counts() -> None:
    tape = Tape(lambda seen: PASS)
    run(b"cos\nsystem\n(X\x01\x00\x00\x00atRr\xff\xff\xff\x7f.", tape)
    assert [seen.dotted for seen in tape.seen.values()] == ["os.system"]


@needs_linux
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("protocol", range(6))
def test_honest_programs_of_small_things_have_room(protocol: int) -> None:
    values = [[], {}, set(), (), "", frozenset(), [[]], {"a": []}] * 40_000
    values = [type(value)(value) for value in values]
    assert run(pickle.dumps(values, protocol), Tape(lambda seen: PASS)) is None


def test_a_process_without_a_limit_is_left_alone() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        with roomy(0):
            assert resource.getrlimit(resource.RLIMIT_AS) == (soft, hard)
