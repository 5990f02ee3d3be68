"""Model and data -> iterations of exploring, pairs and training (cli/marge_dpo.py) -> table, summary.

Started by quickstart_dpo.sh. The flags of a stage (--explore, --pairs, --train) come after the defaults below.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from embedded_task import FLOAT32, MAX_LEN, make_base_model
from quickstart_report import STACK, phase, print_scores

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.data.files import read_object
from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.loop import KINDS

# A problem's search is never cut short, so few are begun at once: what they take beyond the limit is little.
MCTS = "--max_generated_tokens 465000 --problems_in_flight 8 --marge.mcts_step_tokens 24"
# About 0.95 million generated tokens in two iterations, as many as the quickstart's 20 steps of MARGE-RL.
EXPLORE = {
    "marge": "--data.max_samples 235",
    "self_explore": "--rollout.n_samples_per_prompt 7 --data.max_samples 480",
    "outcome": "--data.max_samples 334",
    "sft": "--data.max_samples 334",
    **dict.fromkeys(("mcts", "mcts_steps"), MCTS),
}
PAIRS = {"marge": "--min_value 0.1 --max_value 0.9 --pairs_per_state 4", "outcome": "--pairs_per_state 4"}


def stage_flags(out: Path, kind: str, seed: int) -> dict[str, str]:
    """Flags of the stages: what runs without a GPU, the embedded task, and settings seen to learn on it."""
    learning_rate = 2e-4 if kind == "sft" else 5e-5
    return {
        "explore": f"""
            --data.prompt_dataset {out}/base/train.jsonl --data.label_key label --data.apply_chat_template
            --data.max_len {MAX_LEN} --vllm.enforce_eager --ds.param_dtype fp32 --train.seed {seed}
            --train.full_determinism_enable --problems_per_file 64 {EXPLORE[kind]}
        """,
        "pairs": f"--seed {seed} {PAIRS.get(kind, '')}",
        "train": f"""
            --train.seed {seed} --train.full_determinism_enable --ds.zero_stage 0 --ds.attn_implementation eager
            --train.batch_size 16 --train.micro_batch_size 16 --train.max_epochs 2 --adam.lr {learning_rate}
        """,
        "evaluate": f"--max_len {MAX_LEN} --seed {seed} --engine_args '{FLOAT32}'",
    }


def run_loop(args: argparse.Namespace, out: Path) -> dict:
    """Let the loop write its folders and ``summary.json`` into ``out``, all explorations on one Ray cluster."""
    command = [sys.executable, "-m", "openrlhf_marge.cli.marge_dpo", "--kind", args.kind, "--out", str(out)]
    command += ["--model", f"{out}/base/model", "--heldout", f"{out}/base/heldout.jsonl"]
    command += ["--iterations", str(args.iterations), "--patience", "0"]
    for stage, flags in stage_flags(out, args.kind, args.seed).items():
        command += [f"--{stage}", shlex.join([*shlex.split(flags), *shlex.split(getattr(args, stage))])]
    with local_ray() as environment:
        returncode = subprocess.run(command, env=environment, check=False).returncode
    if returncode:
        raise SystemExit(returncode)
    return read_object(out / "summary.json")


def print_table(summary: dict) -> None:
    print_scores(summary)
    rows = ", ".join(str(i["rows"]) for i in summary["iterations"])
    print(f"{summary['kind']}: {summary['generated_tokens']} generated tokens, {rows} rows trained on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart_dpo"), help="run folder [%(default)s]")
    parser.add_argument("--kind", choices=tuple(KINDS), default="marge", help="the method [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, data and training [%(default)s]")
    parser.add_argument("--iterations", type=int, default=2, help="[%(default)s]")
    for stage in ("explore", "pairs", "train", "evaluate"):
        parser.add_argument(f"--{stage}", default="", metavar="FLAGS", help="further flags of this stage, one string")
    args = parser.parse_args()
    out, seconds = args.out.resolve(), {}
    pretrain.write_problems(out / "base", args.seed)
    with phase(seconds, "base_model", "base model and data: supervised training from scratch"):
        make_base_model(out / "base", args.seed)
    with phase(seconds, "loop", f"{args.iterations} iterations of --kind {args.kind}"):
        summary = run_loop(args, out)
    summary |= {"seed": args.seed, "seconds": seconds, "versions": {name: version(name) for name in STACK}}
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print_table(summary)
    print(f"run folder: {out}")


if __name__ == "__main__":
    main()
