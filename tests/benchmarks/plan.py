"""What cli.plan says of a run against what the run then took: planned / measured, by phase, and of tokens.

    python tests/benchmarks/plan.py --out DIR [--runs quickstart grpo tokens] [--problems 240]

Measures this machine with the quickstart's flags (cli.plan --measure), then plans each run and trains it. Runs: the
quickstart; the same with OpenRLHF's own GRPO; and MARGE with 3 states by tokens, 4 completions each, prefixes shared.
The last one has a pilot of its own, a training over 24 problems; the others have the measurement's.

Other programs change how fast a shared machine is. So it is measured again after every run, and a second plan is made
of both measurements, those before and after the run: "in turn". What DIR has of an earlier start is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "examples"))  # of the quickstart

from embedded_task import make_base_model
from quickstart import train_flags

from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.cli import plan as command
from openrlhf_marge.data.files import read_object
from openrlhf_marge.host.launch.launch_check import parsed
from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.host.standalone.measured_runs import sized
from openrlhf_marge.planning.fitting import LOGGED, fitted, observe
from openrlhf_marge.planning.machines import find_machine, write_machine
from openrlhf_marge.planning.shape import read_shape
from openrlhf_marge.runs.log import LENGTH, SAMPLES, TIMING, TRAIN, Series, read_series, total
from openrlhf_marge.runs.processes import run_logged

PILOT_PROBLEMS = 24
TOKENS = """
    --marge.split tokens --marge.n_states 3 --marge.n_candidates 16 --marge.expected_states 2.4
    --rollout.n_samples_per_prompt 4 --train.batch_size 96 --train.micro_batch_size 24 --rollout.micro_batch_size 24
    --marge.share_prefix --train.dynamic_batch_enable --train.max_tokens_per_gpu 2048
"""
RUNS = {"quickstart": ("marge", ""), "grpo": ("default", ""), "tokens": ("marge", TOKENS)}


def flags_of(name: str, out: Path, problems: int) -> list[str]:
    """The flags of a run in the folder ``out``, whose base/ is beside it."""
    method, more = RUNS[name]
    flags = [f.replace(f"{out}/base", f"{out.parent}/base") for f in train_flags(out, method, 0)]
    return [*flags, "--data.max_samples", str(problems), *more.split()]


def train(flags: list[str], log: Path) -> None:
    with local_ray() as environment:
        run_logged([sys.executable, "-m", "openrlhf.cli.train_ppo_ray", *flags], log, environment, lambda line: None)


def done(run: Path) -> bool:
    """Whether it was trained: the model is saved last."""
    return (run / "trained" / "config.json").is_file()


def measure(out: Path, number: int) -> Path:
    """The command that users have; what was measured before is fitted again."""
    machine = out / f"machine_{number}.json"
    if machine.is_file():
        return fit_again(out, [machine], machine)
    if command.main(["--measure", str(machine), "--", *flags_of("quickstart", out / "measured", 240)]):
        raise SystemExit("plan.py: the measurement failed")
    return machine


def fit_again(out: Path, measured: Sequence[Path], to: Path) -> Path:
    """One machine of one or several measurements."""
    args = parsed(flags_of("quickstart", out / "measured", 240))
    shape, base = read_shape(args.actor.model_name_or_path), find_machine(str(measured[0]))
    observed = [
        o
        for path in measured
        for number, (of_run, _) in enumerate(sized(args, args.rollout.batch_size), start=1)
        for o in observe(path.with_suffix(".runs") / f"run_{number}", of_run, shape, base)
    ]
    write_machine(to, fitted(observed, args, shape, base, to.stem))
    return to


def plan(flags: list[str], machine: Path, pilot: Path, out: Path) -> dict:
    """What the command writes."""
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


def compared(name: str, before: dict, turned: dict, series: Series) -> list[str]:
    """A line for each phase, and one for the tokens."""
    lines = []
    for phase, logged in LOGGED.items():
        took = total(series, TRAIN + TIMING + logged)
        planned, again = before["seconds"][phase], turned["seconds"][phase]
        lines.append(f"{name:11}{phase:11}measured {took:8.1f} s  planned {planned:8.1f} s {planned / took:6.2f}  "
                     f"in turn {again:8.1f} s {again / took:6.2f}")  # fmt: skip
    own = before["sampled"]["untrained_tokens"] + sum(before["sampled"]["completion_tokens"])
    tokens = tokens_of(series)
    return [*lines, f"{name:11}{'tokens':11}measured {tokens:10,.0f}  planned {own:10,.0f} {own / tokens:6.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="[all]")
    parser.add_argument("--problems", type=int, default=240, help="of an episode [240]")
    args = parser.parse_args()
    os.environ["DS_ACCELERATOR"] = "cpu"
    out, lines = args.out.resolve(), []
    pretrain.write_problems(out / "base", 0)
    make_base_model(out / "base", 0)
    machine = measure(out, 0)
    for number, name in enumerate(args.runs, start=1):
        run, pilot = out / name, machine.with_suffix(".runs") / "run_1" / "dump"
        flags = flags_of(name, run, args.problems)
        if name == "tokens":
            few = out / "pilot"
            done(few) or train([*flags_of(name, few, PILOT_PROBLEMS), "--train.num_episodes", "2"], few / "train.log")
            pilot = few / "dump"
        before = plan(flags, machine, pilot, out / f"{name}.json")
        done(run) or train([f.replace(str(run / "dump"), str(run / "dump_of_run")) for f in flags], run / "train.log")
        after = measure(out, number)
        turned = fit_again(out, [machine, after], out / f"in_turn_{number}.json")
        lines += compared(name, before, plan(flags, turned, pilot, out / f"{name}_in_turn.json"), read_series(run))
        print("\n".join(lines), flush=True)
        machine = after


if __name__ == "__main__":
    main()
