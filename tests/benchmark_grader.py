"""The grader's accuracy, speed and what it leaves behind, and the same of Math-Verify in turn.

    python tests/benchmark_grader.py CASES.jsonl [--math_verify PYTHON] [--gradings 10000]

Every line of CASES has response, gold, label (true, false or null) and kind; kind c, hostile input, is left out.
Math-Verify needs another interpreter, as pip cannot resolve it together with latex2sympy2. Printed are the shares that
are right of true and false cases by kind, answers per second and the 99th percentile in one process, and processes and
memory left after many gradings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

MATH_VERIFY = """
import sys
from math_verify import parse, verify
def grade(response, gold):
    return verify(parse(gold if "$" in gold or "boxed" in gold else f"${gold}$"), parse(response))
"""


def read_cases(path: Path) -> list[dict]:
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [case for case in cases if "response" in case and "gold" in case and case["kind"] != "c"]


def measure(grade, cases: list[dict]) -> dict:
    """Verdicts right by kind and label; seconds of every call."""
    grade(r"\boxed{x+1}", "1+x")  # the start of workers does not count
    right, seconds = defaultdict(list), []
    for case in cases:
        start = time.perf_counter()
        correct = grade(case["response"], case["gold"])
        seconds.append(time.perf_counter() - start)
        if case["label"] is not None:
            right[f"{case['kind']} {case['label']}".lower()].append(bool(correct) == case["label"])
    return {"right": {key: sum(r) / len(r) for key, r in sorted(right.items())}, "seconds": seconds}


def show(name: str, result: dict) -> float:
    seconds = sorted(result["seconds"])
    rate = len(seconds) / sum(seconds)
    print(f"{name}: {rate:.0f} answers/s, median {statistics.median(seconds) * 1e3:.2f} ms, ", end="")
    print(f"99th percentile {seconds[int(0.99 * len(seconds))] * 1e3:.1f} ms, longest {seconds[-1]:.2f} s")
    print("   right:", ", ".join(f"{key} {share:.1%}" for key, share in result["right"].items()))
    return rate


def left_behind(cases: list[dict], n: int) -> None:
    """Grade n times in a pool of its own; print the growth of this process and the processes left."""
    import psutil

    from openrlhf_marge.grading import grade
    from openrlhf_marge.grading.pool import GraderPool

    me = psutil.Process()
    with GraderPool() as pool:
        for case in cases[:500]:
            grade(case["response"], case["gold"], pool.symbolically_equal)
        before = me.memory_info().rss
        for i in range(n):
            case = cases[i % len(cases)]
            grade(f"{i} {case['response']}", case["gold"], pool.symbolically_equal)
        grown = (me.memory_info().rss - before) / 2**20
    print(f"{n} gradings: this process grew by {grown:.1f} MiB, {len(me.children(recursive=True))} processes left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="labelled cases, JSONL")
    parser.add_argument("--math_verify", help="a Python that has math-verify")
    parser.add_argument("--gradings", type=int, default=10_000, help="for what is left behind [10000]")
    parser.add_argument("--only_math_verify", action="store_true", help=argparse.SUPPRESS)  # in that Python
    args = parser.parse_args()
    cases = read_cases(args.cases)
    if args.only_math_verify:
        scope: dict = {}
        exec(MATH_VERIFY, scope)
        print(json.dumps(measure(scope["grade"], cases)))
        return
    left_behind(cases, args.gradings)
    from openrlhf_marge.grading import grade

    ours = show("openrlhf_marge", measure(lambda response, gold: grade(response, gold).correct, cases))
    if args.math_verify:
        command = [args.math_verify, __file__, str(args.cases), "--only_math_verify"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        theirs = show("Math-Verify", json.loads(done.stdout.splitlines()[-1]))
        print(f"openrlhf_marge / Math-Verify: {ours / theirs:.1f} in answers per second")


if __name__ == "__main__":
    sys.exit(main())
