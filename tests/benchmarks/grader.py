r"""The grader's accuracy, speed and what it leaves behind, and the same of Math-Verify in turn.

    python tests/benchmarks/grader.py CASES.jsonl [MORE.jsonl ...] [--math_verify PYTHON] [--gradings 10000]

Every line has id, kind, response, gold, and label or expected (true, false or null); kind c, hostile input, is left
out. Math-Verify needs another interpreter, as pip cannot resolve it together with latex2sympy2. Printed are, by file
and kind, the shares that are right of true and of false cases and the ids that are not; how many gold answers of kind
b, real solutions, are wrong when given back in each of five wrappers; answers per second, per second of CPU (which
other work on the machine hardly changes) and the 99th percentile in one process; processes and memory left after many
gradings.
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
WRAPPERS = (r"\boxed{G}", "The answer is G.", "The final answer is $G$.", "#### G", "#### $G$")


def read_cases(paths: list[Path]) -> list[dict]:
    """Cases with the file that they are of; texts given in parts, and hostile ones, are left out."""
    cases = []
    for path in paths:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [row for row in rows if "response" in row and "gold" in row and row["kind"] != "c"]
        cases += [row | {"file": path.name, "label": row.get("label", row.get("expected"))} for row in rows]
    return cases


def measure(grade, cases: list[dict]) -> dict:
    """Verdicts right by file, kind and label; ids of those that are not; seconds of every call, CPU seconds of all."""
    grade(r"\boxed{x+1}", "1+x")  # the start of workers does not count
    cpu = cpu_seconds()
    right, failed, seconds = defaultdict(list), [], []
    for case in cases:
        start = time.perf_counter()
        correct = grade(case["response"], case["gold"])
        seconds.append(time.perf_counter() - start)
        if case["label"] is not None:
            is_right = bool(correct) == case["label"]
            for kind in (case["kind"], "all"):
                right[f"{case['file']} {kind} {case['label']}".lower()].append(is_right)
            failed += [] if is_right else [case["id"]]
    shares = {key: [sum(r), len(r)] for key, r in sorted(right.items())}
    return {"right": shares, "failed": failed, "seconds": seconds, "cpu": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    """Of this process and its workers."""
    try:
        import psutil
    except ImportError:  # in Math-Verify's Python, which has no workers
        return time.process_time()
    children = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + sum(times.user + times.system for times in children)


def show(name: str, result: dict) -> tuple[float, float]:
    seconds = sorted(result["seconds"])
    rate = len(seconds) / sum(seconds)
    per_cpu = len(seconds) / result["cpu"]
    print(f"{name}: {rate:.0f} answers/s, {per_cpu:.0f} per CPU second, ", end="")
    print(f"median {statistics.median(seconds) * 1e3:.2f} ms, ", end="")
    print(f"99th percentile {seconds[int(0.99 * len(seconds))] * 1e3:.1f} ms, longest {seconds[-1]:.2f} s")
    for key, (right, n) in result["right"].items():
        print(f"   {key}: {right} of {n} right ({right / n:.1%})")
    print("   not right:", " ".join(result["failed"]) or "none")
    return rate, per_cpu


def golds_given_back(cases: list[dict]) -> None:
    """Print, by wrapper, the gold answers of real solutions that are not accepted as answers."""
    from openrlhf_marge.grading import gold_answer, grade

    golds = list(dict.fromkeys(gold_answer(case["gold"]) for case in cases if case["kind"] == "b"))
    for wrapper in WRAPPERS if golds else ():
        wrong = [gold for gold in golds if not grade(wrapper.replace("G", gold), gold).correct]
        print(f"{wrapper}: {len(wrong)} of {len(golds)} gold answers wrong", *map(repr, wrong[:10]))


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
    parser.add_argument("cases", type=Path, nargs="+", help="labelled cases, JSONL")
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
    from openrlhf_marge.grading import grade

    ours = show("openrlhf_marge", measure(lambda response, gold: grade(response, gold).correct, cases))
    golds_given_back(cases)
    if args.math_verify:
        command = [args.math_verify, __file__, *map(str, args.cases), "--only_math_verify"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        theirs = show("Math-Verify", json.loads(done.stdout.splitlines()[-1]))
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        print(f"openrlhf_marge / Math-Verify: {ratios[0]:.1f} in answers per second, {ratios[1]:.1f} per CPU second")
    if args.gradings:
        left_behind(cases, args.gradings)


if __name__ == "__main__":
    sys.exit(main())
