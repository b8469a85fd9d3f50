"""The worker: it survives nothing that would hurt the kernel, and every failure of it is unverifiable, never safe."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbguard.artifact.sources import open_bytes, open_path
from nbguard.report.model import Verdict
from nbguard.scanners import Limits, pool, scan_opened
from nbguard.scanners.facts import Facts
from nbguard.scanners.pool import Pool, Worker, WorkerFailed, digest_file, scan_file

GOOD = pickle.dumps({"a": 1})
BUSY = b"\x80\x04(" + b"I1\n" * 3_000_000 + b"t."
"""Takes the machine a second or more, and is small."""


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    own = Pool()
    monkeypatch.setattr(pool, "POOL", own)
    yield own
    own.close()


def ask(data: bytes, **limits: float) -> Facts:
    with open_bytes(data) as opened:
        return scan_file(opened.files[0].fd, path="m.pkl", limits=Limits(**limits))


def test_a_worker_is_kept_and_used_again(workers: Pool) -> None:
    ask(GOOD)
    (first,) = workers._idle
    ask(GOOD)
    assert workers._idle == [first]


def test_the_worker_imports_nothing_heavy(workers: Pool, tmp_path: Path) -> None:
    with workers.worker() as worker:
        maps = Path(f"/proc/{worker.pid}/maps").read_text() if sys.platform == "linux" else ""
    assert not any(name in maps for name in ("torch", "numpy", "pandas", "tokenizers"))
    code = (
        "import sys, nbguard.scanners.registry as r; r.scanners(); import nbguard.scanners.pickle;"
        "print([m for m in ('torch','numpy','pandas','transformers','joblib','fickling','lz4') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_stream_that_takes_too_long_is_unverifiable(workers: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_GRACE", 0.0)
    facts = ask(BUSY * 4, seconds=0.05)
    assert facts.verdict is Verdict.UNVERIFIABLE
    assert facts.findings[0].rule == "limits.time"
    assert workers._idle == []
    assert ask(GOOD).verdict is Verdict.SAFE


def test_processor_time_is_limited_too(workers: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the parent's clock is not looking, the kernel ends the worker."""
    monkeypatch.setattr(pool, "_GRACE", 60.0)
    assert ask(BUSY * 20, seconds=0.0).findings[0].rule == "limits.time"


@pytest.mark.skipif(sys.platform != "linux", reason="address space is not limited elsewhere")
def test_a_stream_that_takes_too_much_memory_is_unverifiable(workers: Pool) -> None:
    bomb = b"\x80\x04]" + b"\x8c\x7f" + b"x" * 127 + b"a" + b"B\xff\xff\xff\x3f"
    assert ask(bomb, memory=200 << 20).verdict is Verdict.UNVERIFIABLE
    lists = b"\x80\x02]" + b"(" * 8_000_000
    facts = ask(lists * 4, memory=150 << 20)
    assert facts.verdict is Verdict.UNVERIFIABLE
    assert ask(GOOD).verdict is Verdict.SAFE


def test_an_answer_that_is_too_large_is_unverifiable(workers: Pool) -> None:
    many = b"\x80\x02" + b"".join(b"cmodule%d\nname\n0" % n for n in range(3000)) + b"N."
    facts = ask(many, answer=10_000)
    assert facts.verdict is Verdict.UNVERIFIABLE
    assert facts.findings[0].rule == "limits.answer"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced(workers: Pool, number: int) -> None:
    ask(GOOD)
    (worker,) = workers._idle
    os.kill(worker.pid, number)
    worker._process.wait()
    assert ask(GOOD).verdict is Verdict.SAFE


def test_a_crash_while_reading_is_unverifiable(workers: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    message = Worker._message

    def crash(self: Worker, *rest: object) -> bytes:
        os.kill(self.pid, signal.SIGSEGV)
        return message(self, *rest)

    monkeypatch.setattr(Worker, "_message", crash)
    facts = ask(BUSY)
    assert (facts.verdict, facts.findings[0].rule) == (Verdict.UNVERIFIABLE, "worker.crash")


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b"not json", b'{"facts": {}}', b'{"facts": {"format": 1}}', b"[" * 100_000]
)
def test_a_malformed_answer_is_unverifiable(workers: Pool, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(Worker, "_message", lambda *_: answer)
    facts = ask(GOOD)
    assert facts.verdict is Verdict.UNVERIFIABLE
    assert facts.findings[0].rule.startswith("worker.")


def test_no_python_to_start_is_unverifiable(workers: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    facts = ask(GOOD)
    assert (facts.verdict, facts.findings[0].rule) == (Verdict.UNVERIFIABLE, "worker.start")


def test_an_interrupt_ends_the_worker_and_goes_on(workers: Pool) -> None:
    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    ask(GOOD)
    (worker,) = workers._idle
    os.kill(worker.pid, signal.SIGSTOP)  # it answers nothing, however fast the machine is
    with open_bytes(GOOD) as opened, pytest.raises(KeyboardInterrupt):
        scan_file(opened.files[0].fd, path="m.pkl", limits=Limits(), progress=interrupt)
    assert not worker.alive()
    assert workers._idle == []


def test_an_interrupt_ends_the_scan(workers: Pool) -> None:
    def interrupt(share: float, what: str) -> None:
        raise KeyboardInterrupt

    with open_bytes(GOOD) as opened, pytest.raises(KeyboardInterrupt):
        scan_opened(opened, progress=interrupt)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_starts_a_worker_of_its_own(workers: Pool) -> None:
    """A child that used its parent's socket would mix up both their answers."""
    ask(GOOD)
    (mine,) = workers._idle
    os.register_at_fork(after_in_child=workers.after_fork)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            facts = ask(GOOD)
            (its,) = workers._idle
            os.write(write, b"%d" % its.pid)
            code = 0 if facts.verdict is Verdict.SAFE and its.pid != mine.pid else 2
            workers.close()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    os.close(write)
    assert os.waitstatus_to_exitcode(status) == 0
    assert int(os.read(read, 100)) != mine.pid
    os.close(read)
    assert mine.alive()
    assert ask(GOOD).verdict is Verdict.SAFE
    assert workers._idle == [mine]


def test_threads_get_answers_to_their_own_questions(workers: Pool) -> None:
    wrong: list[str] = []

    def one(name: str) -> None:
        for _ in range(5):
            with open_bytes(b"\x80\x02c%s\nX\n." % name.encode()) as opened:
                facts = scan_file(opened.files[0].fd, path=name, limits=Limits())
            if [g.module for g in facts.globals] != [name]:
                wrong.append(name)

    threads = [threading.Thread(target=one, args=(f"module{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= len(workers._idle) <= pool.MAX_WORKERS


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_worker_has_no_environment_and_no_other_files(
    workers: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    (tmp_path / "held").write_text("x")
    with open(tmp_path / "held") as held:
        os.set_inheritable(held.fileno(), True)
        ask(GOOD)
        (worker,) = workers._idle
        assert b"secret" not in Path(f"/proc/{worker.pid}/environ").read_bytes()
        links = [os.readlink(f"/proc/{worker.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{worker.pid}/fd")]
        assert not any("held" in link for link in links)
        assert os.readlink(f"/proc/{worker.pid}/cwd") == "/"


def test_nothing_beside_the_notebook_is_imported_by_the_worker(
    workers: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 11, for the scanner itself: a `pickle.py` or `lz4.py` in the working folder is the attacker's."""
    for name in ("pickle.py", "lz4.py", "json.py", "sitecustomize.py", "nbguard.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask(GOOD).verdict is Verdict.SAFE
    assert not (tmp_path / "marker").exists()


def test_digests_come_from_the_worker(workers: Pool, tmp_path: Path) -> None:
    data = bytes(range(256)) * 100_000
    (tmp_path / "m").write_bytes(data)
    shares: list[float] = []
    with open_path(tmp_path / "m") as opened:
        assert digest_file(opened.files[0].fd, progress=shares.append) == hashlib.sha256(data).hexdigest()
    assert shares
    assert max(shares) == 1.0


def test_a_worker_ends_with_its_parent() -> None:
    code = "from nbguard.scanners.pool import POOL\nwith POOL.worker() as w: print(w.pid, flush=True)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        if handle is not None:
            import select

            assert select.select([handle], [], [], 30)[0]
            os.close(handle)


def test_worker_failed_is_a_sentence() -> None:
    with pytest.raises(WorkerFailed, match=r"\.$"):
        raise WorkerFailed("x", "A sentence.")


def test_several_files_go_with_one_request_and_each_gets_its_own_answer(workers: Pool) -> None:
    harm = pickle.dumps(print)
    with open_bytes(GOOD) as one, open_bytes(harm) as two, open_bytes(GOOD) as three:
        wanted = [pool.Wanted(o.files[0].fd, name) for o, name in ((one, "a"), (two, "b"), (three, "c"))]
        found = pool.scan_files(wanted, Limits())
    assert [f.verdict is Verdict.SAFE for f in found] == [True, False, True]
    assert len(workers._all) == 1


def test_only_the_file_that_a_worker_fails_on_is_unverifiable(workers: Pool) -> None:
    many = b"\x80\x02" + b"".join(b"cmodule%d\nname\n0" % n for n in range(3000)) + b"N."
    with open_bytes(GOOD) as one, open_bytes(many) as two, open_bytes(GOOD) as three:
        wanted = [pool.Wanted(o.files[0].fd, name) for o, name in ((one, "a"), (two, "b"), (three, "c"))]
        found = pool.scan_files(wanted, Limits(answer=10_000))
    assert [f.verdict for f in found] == [Verdict.SAFE, Verdict.UNVERIFIABLE, Verdict.SAFE]
    assert found[1].findings[0].rule == "limits.answer"


def test_a_file_is_told_what_lies_beside_it_and_not_itself(workers: Pool) -> None:
    """Old joblib pickles name arrays beside them; one that names itself finds nothing."""
    import io

    import joblib.numpy_pickle_compat as old

    out = io.BytesIO()
    pickler = pickle._Pickler(out, 2)  # type: ignore[attr-defined]
    pickler.dump(old.NDArrayWrapper("m.pkl", __import__("numpy").ndarray))
    with open_bytes(out.getvalue()) as opened:
        wanted = [pool.Wanted(opened.files[0].fd, "m.pkl", None, "here")]
        alone = pool.scan_files(wanted, Limits(), {"here": ["m.pkl"]})[0]
    assert alone.verdict is not Verdict.SAFE
    assert alone.companions == []
