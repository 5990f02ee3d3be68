"""Grade a file of responses, or check that the grader accepts the gold answers of a data set.

    python -m openrlhf_marge.cli.grade RESPONSES.jsonl --out GRADED.jsonl --problem_key input
    python -m openrlhf_marge.cli.grade DATA.jsonl --label_key answer --check_gold

Exit status: 0, 1 when --check_gold finds a gold answer that is not accepted, 2 for bad input.
"""

from __future__ import annotations

import argparse
import json
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from openrlhf_marge.data.files import check_out, writing
from openrlhf_marge.data.plurals import counted
from openrlhf_marge.data.rows import Row, count_rows, read_rows
from openrlhf_marge.figures.clustered import Clustered
from openrlhf_marge.grading import REASONS, Grade, gold_answer, grade, grade_gold
from openrlhf_marge.grading.errors import GraderUnavailable
from openrlhf_marge.rewards.workers import add_workers, check_workers, start_pool

AHEAD = 16  # rows read ahead per thread, so that one slow answer does not stop the others


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSONL or .parquet file with one response, or problem, per row")
    parser.add_argument("--response_key", default="response", help="key of the response [default 'response']")
    parser.add_argument("--label_key", default="label", help="key of the gold answer [default 'label']")
    parser.add_argument(
        "--problem_key",
        help="key of the problem, where several responses are to one, which say less than as many to different ones",
    )
    parser.add_argument("--out", type=Path, help="JSONL file for the rows with 'correct' and 'reason' added")
    parser.add_argument(
        "--check_gold", action="store_true", help="grade each gold answer as a response and list those not accepted"
    )
    add_workers(parser)
    args = parser.parse_args(argv)
    check_workers(parser, args.workers)
    if args.check_gold and args.out:
        parser.error("--out does not go with --check_gold, which grades no responses; leave one of them out")
    if args.check_gold and args.problem_key:
        parser.error("--problem_key does not go with --check_gold, which grades no responses; leave one of them out")
    return args


def graded(args: argparse.Namespace, verdict: Callable[[Row], Grade]) -> Iterator[tuple[Row, Grade]]:
    """Every row of the file with its verdict, in order; the rows of a large file are not held in memory."""
    total = count_rows(args.file)
    threads = ThreadPoolExecutor(args.workers, thread_name_prefix="grade")
    waiting: deque = deque()
    try:
        with tqdm(total=total, desc="Grade", unit="row") as progress:
            for row in read_rows(args.file):
                waiting.append((row, threads.submit(verdict, row)))
                if len(waiting) > AHEAD * args.workers:
                    yield _result(*waiting.popleft())
                    progress.update()
            while waiting:
                yield _result(*waiting.popleft())
                progress.update()
    finally:
        threads.shutdown(cancel_futures=True)


def _result(row: Row, future) -> tuple[Row, Grade]:
    return row, future.result()


def grade_file(args: argparse.Namespace) -> int:
    """Grade the responses and print accuracy and reasons; returns the exit status."""

    def verdict(row: Row) -> Grade:
        response = row.text(args.response_key, "--response_key", may_be_empty=True)
        return grade(response, row.text(args.label_key, "--label_key"))

    reasons: Counter[str] = Counter()
    correct, problems = array("d"), array("q")  # row by row
    places: dict[str, int] = {}
    with ExitStack() as stack:
        out = stack.enter_context(writing(args.out)) if args.out else None
        for row, result in graded(args, verdict):
            reasons[result.reason] += 1
            correct.append(result.correct)
            name = row.text(key, "--problem_key") if (key := args.problem_key) else None
            problems.append(len(problems) if name is None else places.setdefault(name, len(places)))
            if out:
                line = row.values | {"correct": result.correct, "reason": result.reason}
                out.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
    found = Clustered(np.array(correct), np.array(problems))
    print(report(args.file, found, reasons, args.problem_key is not None))
    return 0


def report(file: Path, correct: Clustered, reasons: Counter[str], with_problems: bool) -> str:
    """Accuracy with its standard error over problems, then count and share of every reason."""
    n, error = correct.count, "n/a" if correct.error is None else f"{correct.error:.4f}"
    over = counted(n, "response")
    if with_problems:
        over += f" to {counted(len(np.unique(correct.clusters)), 'problem')}"
    elif n > 1:
        over += "; give --problem_key if several are to one problem"
    lines = [f"{file}: accuracy {correct.mean:.4f} +- {error} (standard error over {over})"]
    lines += [f"  {reason:<10} {reasons[reason]:>8} {reasons[reason] / n:>8.2%}" for reason in REASONS]
    return "\n".join(lines)


def check_gold(args: argparse.Namespace) -> int:
    """List the rows whose gold answer is not accepted, in a box or in another spelling; returns the exit status."""

    def verdict(row: Row) -> Grade:
        label = row.text(args.label_key, "--label_key")
        as_it_stands = grade(f"\\boxed{{{gold_answer(label)}}}", label)
        return grade_gold(label) if as_it_stands.correct else as_it_stands

    rows = refused = 0
    for row, result in graded(args, verdict):
        rows += 1
        if not result.correct:
            refused += 1
            tqdm.write(f"{row.place}: {row.values[args.label_key]!r} ({result.reason})", file=sys.stdout)
    print(f"{args.file}: {rows - refused} of {rows} gold answers are accepted by the grader")
    return int(refused > 0)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        if args.out:
            check_out(args.out, [args.file])
        start_pool(args.workers)
        return check_gold(args) if args.check_gold else grade_file(args)
    except (ValueError, OSError, GraderUnavailable) as e:
        print(f"grade: error: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
