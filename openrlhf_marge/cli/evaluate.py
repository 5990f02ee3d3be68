"""pass@1 and pass@k of a model on held-out problems: sampled by one vLLM engine, graded by the package's grader.

python -m openrlhf_marge.cli.evaluate --model DIR --data FILE.jsonl --out result.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from openrlhf_marge.evaluation import mean_pass_at_k
from openrlhf_marge.grading import grade


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a Hugging Face model with a chat template")
    parser.add_argument("--data", required=True, help="JSONL file with a problem and its gold answer per row")
    parser.add_argument("--input_key", default="input", help="column of the problem [default 'input']")
    parser.add_argument("--label_key", default="label", help="column of the gold answer [default 'label']")
    parser.add_argument("--n", type=int, default=16, help="responses per problem [at least k, default 16]")
    parser.add_argument("--k", type=int, default=8, help="k of pass@k [default 8]")
    parser.add_argument("--temperature", type=float, default=0.8, help="sampling temperature [default 0.8]")
    parser.add_argument("--top_p", type=float, default=0.95, help="nucleus [default 0.95]")
    parser.add_argument("--max_len", type=int, default=2048, help="tokens of prompt and response [default 2048]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling [default 0]")
    parser.add_argument("--out", required=True, help="JSON file to write")
    args = parser.parse_args(argv)
    if not 1 <= args.k <= args.n:
        parser.error(f"--k {args.k} must lie between 1 and --n {args.n}")
    return args


def read_rows(path: str, input_key: str, label_key: str) -> list[tuple[str, str]]:
    """(problem, gold answer) per row; ValueError naming file and row when one is missing."""
    if not Path(path).is_file():
        raise ValueError(f"--data {path}: there is no such file")
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        for flag, key in (("--input_key", input_key), ("--label_key", label_key)):
            if not str(row.get(key) or "").strip():
                raise ValueError(f"--data {path}, row {number}: the column {key!r} ({flag}) is missing or empty")
        rows.append((str(row[input_key]), str(row[label_key])))
    if not rows:
        raise ValueError(f"--data {path} has no rows")
    return rows


def count_correct(args: argparse.Namespace, rows: list[tuple[str, str]]) -> list[int]:
    """Correct responses per problem, in the order of the rows."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=args.model, dtype="bfloat16", max_model_len=args.max_len, enforce_eager=True, seed=args.seed)
    params = SamplingParams(n=args.n, temperature=args.temperature, top_p=args.top_p, max_tokens=None)
    outputs = llm.chat([[{"role": "user", "content": problem}] for problem, _ in rows], params)
    return [
        sum(grade(response.text, label).correct for response in output.outputs)
        for output, (_, label) in zip(outputs, rows, strict=True)
    ]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        rows = read_rows(args.data, args.input_key, args.label_key)
    except ValueError as e:
        raise SystemExit(f"evaluate: error: {e}") from None
    correct = count_correct(args, rows)
    result = {"model": args.model, "data": args.data, "problems": len(rows), "responses_per_problem": args.n}
    for k in (1, args.k):
        estimate = mean_pass_at_k(correct, args.n, k)
        result[f"pass@{k}"] = estimate.mean
        result[f"pass@{k}_standard_error"] = estimate.standard_error
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
