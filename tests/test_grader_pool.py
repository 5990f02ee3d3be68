import asyncio
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from grader_functions import ENDS, SCRIPTED, WARM_UPS

from openrlhf_marge.grading import pool as grading_pool
from openrlhf_marge.grading import shared
from openrlhf_marge.grading.errors import GraderUnavailable, GradingFailed, GradingTimeout, Unparsable
from openrlhf_marge.grading.pool import GraderPool
from openrlhf_marge.grading.shared import MOST_WORKERS, shared_pool, usable_cores

SECONDS = 2  # of CPU, for a comparison
AWAITS = "grader_functions:awaits"


@pytest.fixture
def pool():
    with GraderPool(seconds=SECONDS, function=SCRIPTED) as it:
        yield it


def pids(pool):
    return [w.pid for w in pool._workers if w.pid is not None]


def wait_until_gone(pid, seconds=20):
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        deadline = time.monotonic() + seconds
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"{pid} still runs"
            time.sleep(0.02)


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_works(pool):
    assert pool.symbolically_equal("works", "works") is True
    assert pool.symbolically_equal("works", "not") is False


def test_the_symbolic_comparison():
    with GraderPool(seconds=30) as pool:
        assert pool.symbolically_equal("x+x", "2x") is True
        assert pool.symbolically_equal("x+x", "3x") is False
        with pytest.raises(Unparsable):
            pool.symbolically_equal("\\frac{", "2x")


@pytest.mark.parametrize("text", ["\\sqrt{é}\n\x00", "\ud800", '"}', "", "x" * 10_000])
def test_any_text_arrives(pool, text):
    assert pool.symbolically_equal(text, text) is True


def test_overlong_text_is_refused_without_a_process(pool):
    with pytest.raises(Unparsable, match="longer than 10000 characters"):
        pool.symbolically_equal("x" * 10_001, "x")
    assert not pids(pool)


def test_threads_get_their_own_verdicts():
    with GraderPool(n_workers=2, seconds=30, function=SCRIPTED) as pool, ThreadPoolExecutor(8) as threads:
        pairs = [(str(i % 40), str(i % 3)) for i in range(400)]
        verdicts = list(threads.map(lambda pair: pool.symbolically_equal(*pair), pairs))
        assert verdicts == [a == g for a, g in pairs]
        assert len(pids(pool)) == 2


def test_asyncio_to_thread(pool):
    async def all_verdicts():
        return await asyncio.gather(*(asyncio.to_thread(pool.symbolically_equal, str(i), "3") for i in range(20)))

    assert asyncio.run(all_verdicts()) == [i == 3 for i in range(20)]


def test_a_second_process_starts_only_when_the_first_is_busy(tmp_path):
    begun, end = tmp_path / "begun", tmp_path / "end"
    with GraderPool(n_workers=2, function=AWAITS) as pool, ThreadPoolExecutor(1) as threads:
        assert pids(pool) == []
        for _ in range(2):
            assert pool.symbolically_equal(str(tmp_path / "now"), str(tmp_path)) is True
        assert len(pids(pool)) == 1
        slow = threads.submit(pool.symbolically_equal, str(begun), str(end))
        wait_for(begun.exists)
        assert pool.symbolically_equal(str(tmp_path / "too"), str(tmp_path)) is True
        assert not slow.done()
        assert len(pids(pool)) == 2
        end.touch()
        assert slow.result() is True


@pytest.mark.parametrize("deed", ["spin", "one long C call"])
def test_a_timeout_kills_the_process_and_is_not_remembered(pool, deed):
    assert_works(pool)
    for times in (1, 2):
        (pid,) = pids(pool)
        budget = pool.budget()
        with pytest.raises(GradingTimeout, match=f"within {SECONDS} s of CPU for one answer, last on '{deed}'"):
            pool.symbolically_equal(deed, "1", budget)
        assert budget.left == 0.0
        assert not psutil.pid_exists(pid)
        assert pool.symbolically_equal("next", str(times)) is False
        assert pool.counts == {"timeouts": times, "failures": 0, "restarts": times, "cached": 0}


def burner(core):
    """A process that keeps a core busy until its parent ends it, or ends."""
    code = "import os; p = os.getppid()\nwhile os.getppid() == p: sum(range(100_000))"
    process = subprocess.Popen([sys.executable, "-c", code])
    psutil.Process(process.pid).cpu_affinity([core])
    return process


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
@pytest.mark.slow
def test_a_verdict_is_the_same_when_eight_others_want_the_core(pool):
    core = min(os.sched_getaffinity(0))
    assert_works(pool)
    psutil.Process(pids(pool)[0]).cpu_affinity([core])
    burners = [burner(core) for _ in range(8)]
    try:
        assert pool.symbolically_equal("a second of work", "a second of work") is True
    finally:
        for process in burners:
            process.kill()
            process.wait()
    assert pool.counts["timeouts"] == 0


def test_time_without_cpu_is_no_timeout_but_stops_the_caller(pool):
    for worker in pool._workers:
        worker.wall_seconds = 0.5
    with pytest.raises(GraderUnavailable, match=r"not get its 2 s of CPU within 0\.5 s.*this machine is too busy"):
        pool.symbolically_equal("sleep", "1")
    assert pool.counts == {"timeouts": 0, "failures": 0, "restarts": 0, "cached": 0}
    assert not pids(pool)


def test_a_process_killed_from_outside_twice_stops_the_caller(pool):
    with pytest.raises(GraderUnavailable, match=r"ended by signal 9 \(Killed\), comparing 'be killed'.*out of memory"):
        pool.symbolically_equal("be killed", "1")
    assert pool.counts["failures"] == 0
    assert_works(pool)


def test_however_many_processes_are_replaced_the_parser_warms_up_once(tmp_path, monkeypatch):
    monkeypatch.setenv(WARM_UPS, str(tmp_path / "warm-ups"))
    with GraderPool(n_workers=2, seconds=0.2, function=SCRIPTED) as pool, ThreadPoolExecutor(8) as threads:
        hostile = [threads.submit(pool.symbolically_equal, "spin", str(i)) for i in range(8)]
        assert all(isinstance(h.exception(), GradingTimeout) for h in hostile)
        assert_works(pool)
    assert (tmp_path / "warm-ups").read_text() == "x\n"
    assert pool.counts["timeouts"] == 8


def test_a_warm_process_that_is_killed_is_replaced(pool):
    assert_works(pool)
    psutil.Process(pool._server._process.pid).kill()
    wait_until_gone(pool._server._process.pid)
    assert pool.symbolically_equal("after", "after") is True
    assert pool.symbolically_equal("all", "else") is False


def test_waiting_for_a_process_is_told_apart_from_computing(tmp_path):
    begun, end = tmp_path / "begun", tmp_path / "end"
    with GraderPool(function=AWAITS) as pool, ThreadPoolExecutor(2) as threads:
        pool.symbolically_equal(str(tmp_path / "now"), str(tmp_path))
        first, second = pool.budget(), pool.budget()
        busy = threads.submit(pool.symbolically_equal, str(begun), str(end), first)
        wait_for(begun.exists)
        waiting = threads.submit(pool.symbolically_equal, str(tmp_path / "too"), str(end), second)
        wait_for(lambda: pool._idle.not_empty._waiters)
        time.sleep(0.3)
        end.touch()
        assert busy.result() and waiting.result()
    assert first.waited < second.waited
    assert second.waited > 0.29
    assert second.left > 4.5  # of 5: waiting costs nothing


@pytest.mark.parametrize(
    ("deed", "said"), [("exit", "ended with status 7"), ("abort", "Aborted"), ("segfault", "Segmentation fault")]
)
def test_a_crash_is_named_and_the_next_comparison_works(pool, deed, said):
    for times in (1, 2):  # not remembered
        with pytest.raises(GradingFailed, match=f"{said}.*comparing '{deed}'"):
            pool.symbolically_equal(deed, "1")
        assert pool.counts == {"timeouts": 0, "failures": times, "restarts": 2 * times - 1, "cached": 0}
    assert_works(pool)


def test_what_the_comparison_raises_is_named_and_keeps_the_process(pool):
    assert_works(pool)
    with pytest.raises(GradingFailed, match="comparing 'raise' with '1' raised KeyError: 'no such key'"):
        pool.symbolically_equal("raise", "1")
    for _ in range(2):
        with pytest.raises(Unparsable, match="invalid literal"):
            pool.symbolically_equal("unparsable", "1")
    assert pool.counts == {"timeouts": 0, "failures": 1, "restarts": 0, "cached": 1}


def test_memory_is_limited():
    with GraderPool(seconds=30, memory_mib=256, function=SCRIPTED) as pool:
        with pytest.raises(GradingFailed, match=r"ran out of its 256 MiB \(MARGE_GRADER_MEMORY_MIB sets more\)"):
            pool.symbolically_equal("hoard", "1")
        assert_works(pool)


def test_output_goes_nowhere_and_blocks_nothing(pool, capfd):
    for i in range(5):
        assert pool.symbolically_equal("print", str(i)) is False
    assert capfd.readouterr() == ("", "")


def test_a_process_killed_from_outside_is_replaced(pool):
    for i in range(3):
        assert pool.symbolically_equal(str(i), str(i)) is True
        (pid,) = pids(pool)
        psutil.Process(pid).kill()
        wait_until_gone(pid)
    assert pool.symbolically_equal("a", "b") is False
    assert pool.counts["restarts"] == 3
    assert pool.counts["failures"] == 0


def test_a_process_that_dies_once_costs_no_verdict(tmp_path):
    with GraderPool(seconds=30, function="grader_functions:interrupted_once") as pool:
        assert pool.symbolically_equal("", str(tmp_path / "marks")) is True


def test_a_start_that_fails_says_why_and_may_succeed_later(pool):
    for _ in range(2):
        with (
            GraderPool(function="grader_functions:absent") as broken,
            pytest.raises(GraderUnavailable, match=r"(?s)ended at its start, status 1.*no attribute 'absent'"),
        ):
            broken.symbolically_equal("1", "1")
    with GraderPool(start_seconds=0.01, function=SCRIPTED) as hasty:
        with pytest.raises(GraderUnavailable, match=r"not ready within 0\.01 s"):
            hasty.symbolically_equal("1", "1")
        hasty._server._start_seconds = 60
        assert_works(hasty)


def test_repeated_pairs_are_remembered_up_to_a_bound(pool, monkeypatch):
    monkeypatch.setattr(grading_pool, "CACHED_PAIRS", 2)
    for answer in ("1", "1", "2", "1", "3", "1", "2"):  # 3 displaces 2, which was used less recently than 1
        assert pool.symbolically_equal(answer, "1") is (answer == "1")
    assert pool.counts["cached"] == 3
    assert len(pool._cache) == 2


def test_a_process_survives_the_thread_that_needed_it_first(pool):
    thread = threading.Thread(target=pool.symbolically_equal, args=("1", "1"))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert_works(pool)
    assert pool.counts["restarts"] == 0


@pytest.mark.parametrize("how", ENDS)
def test_no_process_outlives_its_parent(how):
    script = Path(__file__).with_name("grader_functions.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.run(
        [sys.executable, str(script), how],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=120,
    )
    for pid in map(int, run.stdout.split()):  # the warm process, and the one that compares
        wait_until_gone(pid)


def test_a_forked_child_has_its_own_processes(pool):
    assert_works(pool)
    (pid,) = pids(pool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forking a process with threads
        child = os.fork()
    if not child:
        with suppress(BaseException):
            pool.symbolically_equal("in", "the child")
            (own,) = pids(pool)
            pool.close()
            os._exit(0 if own != pid and not psutil.pid_exists(own) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pids(pool) == [pid]
    assert pool.symbolically_equal("still", "still") is True
    assert pool.counts["restarts"] == 0


def test_close_leaves_nothing():
    with ThreadPoolExecutor(3) as threads:
        pool = GraderPool(n_workers=2, seconds=600, function=SCRIPTED)
        busy = [threads.submit(pool.symbolically_equal, "sleep", str(i)) for i in range(3)]  # one of them waits
        wait_for(lambda: len(pids(pool)) == 2 and pool._idle.not_empty._waiters)
        processes = [*pids(pool), pool._server._process.pid]
        pool.close()
        assert all(isinstance(b.exception(timeout=60), GraderUnavailable) for b in busy)
    assert len(processes) == 3
    assert not any(map(psutil.pid_exists, processes))
    with pytest.raises(GraderUnavailable, match="is closed: make a new one"):
        pool.symbolically_equal("1", "1")


def test_close_waits_for_no_start(tmp_path):
    with ThreadPoolExecutor(1) as threads:
        pool = GraderPool(function="grader_functions:scripted")
        starting = threads.submit(pool.symbolically_equal, "1", "1")
        wait_for(lambda: pool._server._process is not None)
        pool.close()
        assert starting.exception(timeout=60) is None or isinstance(starting.exception(), GraderUnavailable)
    assert not psutil.pid_exists(pool._server._process.pid)


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKERS", "0"), ("WORKERS", "1.5"), ("SECONDS", "nan"), ("SECONDS", "inf"), ("MEMORY_MIB", "many")],
)
def test_a_bad_variable_is_named(monkeypatch, name, value):
    monkeypatch.setattr(shared, "_shared", None)
    monkeypatch.setenv(f"MARGE_GRADER_{name}", value)
    with pytest.raises(ValueError, match=f"MARGE_GRADER_{name}='{value}' is not a .*number above 0"):
        shared_pool()


def test_the_shared_pool_is_one_and_of_the_size_that_is_set(monkeypatch):
    monkeypatch.setattr(shared, "_shared", None)
    monkeypatch.setenv("MARGE_GRADER_WORKERS", "3")
    monkeypatch.setenv("MARGE_GRADER_SECONDS", "0.5")
    with ThreadPoolExecutor(8) as threads:
        (one,) = set(threads.map(lambda _: shared_pool(), range(8)))
    assert (len(one._workers), one._workers[0].seconds, one._workers[0].memory_mib) == (3, 0.5, 1024)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (6, 6), (200, 16)])
def test_the_shared_pool_has_a_worker_for_each_core_that_may_be_used(monkeypatch, cores, workers):
    monkeypatch.setattr(shared, "_shared", None)
    monkeypatch.delenv("MARGE_GRADER_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert usable_cores() == cores
    assert shared_pool().n_workers == workers <= MOST_WORKERS


@pytest.mark.parametrize("bad", [{"n_workers": 0}, {"seconds": 0}, {"memory_mib": -1}])
def test_sizes_are_checked(bad):
    with pytest.raises(ValueError, match="above 0"):
        GraderPool(**bad)


def test_all_comparisons_of_one_answer_share_its_time(pool):
    budget = pool.budget()
    with pytest.raises(GradingTimeout, match=f"within {SECONDS} s of CPU for one answer"):
        for number in range(20):
            pool.symbolically_equal("a bit of work", str(number), budget)
    assert number <= 6
    with pytest.raises(GradingTimeout):
        pool.symbolically_equal("a", "b", budget)
    assert_works(pool)


@pytest.mark.slow
def test_a_file_of_the_users_named_as_a_module_of_the_parser_is_no_matter(tmp_path, monkeypatch):
    (tmp_path / "gen.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with GraderPool(seconds=30) as pool:
        assert pool.symbolically_equal("x+x", "2x") is True
