"""What cli.plan says of a run against what the run then took: planned / measured, by phase, and of tokens.

    python tests/benchmarks/plan.py [--out DIR] [--runs quickstart grpo tokens] [--problems 240] [--rounds 1]

Measures this machine with the quickstart's flags (cli.plan --measure), then plans each run, trains it, and compares.
Runs: the quickstart; the same with OpenRLHF's own GRPO; and MARGE with 3 states by tokens, 4 completions each, prefixes
shared. The last one has a pilot of its own, a training over 24 problems; the others have the measurement's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "examples"))  # of the quickstart

from quickstart import make_base_model, train_flags

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.cli import plan as command
from openrlhf_marge.data.files import read_object
from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.runs.log import LENGTH, SAMPLES, TIMING, TRAIN, Series, read_series, total
from openrlhf_marge.runs.processes import run_logged

PILOT_PROBLEMS = 24
TOKENS = """
    --marge.split tokens --marge.n_states 3 --marge.n_candidates 16 --marge.expected_states 2.4
    --rollout.n_samples_per_prompt 4 --train.batch_size 96 --train.micro_batch_size 24 --rollout.micro_batch_size 24
    --marge.share_prefix --train.dynamic_batch_enable --train.max_tokens_per_gpu 2048
""".split()
RUNS = {"quickstart": ("marge", []), "grpo": ("default", []), "tokens": ("marge", TOKENS)}


def flags_of(name: str, out: Path, problems: int) -> list[str]:
    """The flags of a run in the folder ``out``, whose base/ is beside it."""
    method, more = RUNS[name]
    flags = [f.replace(f"{out}/base", f"{out.parent}/base") for f in train_flags(out, method, 0)]
    return [*flags, "--data.max_samples", str(problems), *more]


def train(flags: list[str], log: Path) -> None:
    with local_ray() as environment:
        run_logged([sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *flags], log, environment, lambda line: None)


def planned(flags: list[str], machine: Path, pilot: Path, out: Path) -> dict:
    """The plan that the command writes."""
    words = ["--machine", str(machine), "--pilot", str(pilot), "--out", str(out)]
    if command.main([*words, "--", *flags]):
        raise SystemExit("plan.py: the plan failed")
    return read_object(out)["launch"]


def tokens_of(series: Series) -> float:
    """That the engines generated."""
    if f"{TRAIN}marge/generated_tokens" in series:
        return total(series, f"{TRAIN}marge/generated_tokens")
    pairs = zip(series[TRAIN + LENGTH], series[TRAIN + SAMPLES], strict=True)
    return sum(length * number for (_, length), (_, number) in pairs)


def measured(series: Series) -> dict[str, float]:
    names = {"generation": "generation", "log_probs": "make_experience", "training": "ppo_train", "sync": "broadcast"}
    return {phase: total(series, TRAIN + TIMING + name) for phase, name in names.items()}


def compare(name: str, plan: dict, series: Series, say: Callable[[str], None]) -> None:
    seconds = measured(series)
    for phase, took in seconds.items():
        say(f"{name:12}{phase:12}{plan['seconds'][phase]:9.1f} s planned {took:9.1f} s measured "
            f"{plan['seconds'][phase] / took:6.2f}")  # fmt: skip
    own = plan["sampled"]["untrained_tokens"] + sum(plan["sampled"]["completion_tokens"])
    say(f"{name:12}{'tokens':12}{own:11,.0f} planned {tokens_of(series):11,.0f} measured "
        f"{own / tokens_of(series):6.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder to write [a temporary one]")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="[all]")
    parser.add_argument("--problems", type=int, default=240, help="of an episode [240]")
    parser.add_argument("--rounds", type=int, default=1, help="times that all is measured and trained in turn [1]")
    args = parser.parse_args()
    os.environ["DS_ACCELERATOR"] = "cpu"
    with tempfile.TemporaryDirectory() as temporary:
        out = (args.out or Path(temporary)).resolve()
        pretrain.write_problems(out / "base", 0)
        make_base_model(out / "base", 0)
        lines: list[str] = []
        for number in range(args.rounds):
            machine = out / f"machine_{number}.json"
            if command.main(["--measure", str(machine), "--", *flags_of("quickstart", out / "measured", 240)]):
                raise SystemExit("plan.py: the measurement failed")
            for name in args.runs:
                run = out / f"{name}_{number}"
                pilot = machine.with_suffix(".runs") / "run_1" / "dump"
                flags = flags_of(name, run, args.problems)
                if name == "tokens":
                    few = out / f"pilot_{number}"
                    train([*flags_of(name, few, PILOT_PROBLEMS), "--train.num_episodes", "2"], few / "train.log")
                    pilot = few / "dump"
                plan = planned(flags, machine, pilot, out / f"{name}_{number}.json")
                train(flags, run / "train.log")
                compare(name, plan, read_series(run / "tensorboard"), lines.append)
                print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
