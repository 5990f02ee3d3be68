"""What the tests' graders call in place of the symbolic comparison, and a process that ends over a busy grader."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

SCRIPTED = "grader_functions:scripted"
WARM_UPS = "MARGE_TEST_WARM_UPS"  # a file that gets a line for every warm-up
ENDS = {
    "return": lambda: None,
    "raise": lambda: 1 / 0,
    "exit in a thread": lambda: threading.Thread(target=sys.exit, args=(3,)).start(),
    "os._exit": lambda: os._exit(0),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
}


def hoard() -> None:
    """Allocate until the system refuses, never more than 8 GiB."""
    blocks = [bytes(2**24) for _ in range(512)]
    raise AssertionError(f"{len(blocks)} blocks of 16 MiB fitted")


def use_cpu(seconds: float) -> None:
    """Compute until this process has had the seconds of CPU, however long that takes."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


DEEDS = {
    "sleep": lambda: time.sleep(600),
    "spin": lambda: use_cpu(600),
    "a second of work": lambda: use_cpu(1.0),
    "a bit of work": lambda: use_cpu(0.3),
    "one long C call": lambda: 10 ** (10**9),
    "hoard": hoard,
    "exit": lambda: os._exit(7),
    "abort": os.abort,
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "be killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "raise": lambda: {}["no such key"],
    "unparsable": lambda: int("x"),
    "print": lambda: [print("noise " * 20_000, file=f, flush=True) for f in (sys.stdout, sys.stderr)],
}


def scripted(answer: str, gold: str) -> bool:
    """Do what ``answer`` names, then compare the strings."""
    DEEDS.get(answer, lambda: None)()
    return answer == gold


def warm_up() -> None:
    """What the warm process calls at its start."""
    if path := os.environ.get(WARM_UPS):
        with open(path, "a") as file:
            file.write("x\n")


def awaits(answer: str, gold: str) -> bool:
    """Make the file ``answer``, then wait for the file ``gold``."""
    Path(answer).touch()
    while not Path(gold).exists():
        time.sleep(0.01)
    return True


def interrupted_once(answer: str, gold: str) -> bool:
    """Die in the first process that is asked, which ``gold`` (a file) tells; the answer is True in the next."""
    with open(gold, "a+") as marks:
        marks.seek(0)
        if not marks.read():
            marks.write("x")
            marks.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    return True


def end_over_a_busy_grader(how: str) -> None:
    """Print the grader's process id once it is in a long C call, then end in the way ``how``."""
    from openrlhf_marge.grading.pool import GraderPool

    pool = GraderPool(seconds=600, function=SCRIPTED)
    pool.symbolically_equal("warm", "warm")
    threading.Thread(target=pool.symbolically_equal, args=("one long C call", ""), daemon=True).start()
    time.sleep(0.3)
    print(pool._server._process.pid, pool._workers[0].pid, flush=True)
    ENDS[how]()


if __name__ == "__main__":
    end_over_a_busy_grader(sys.argv[1])
