"""What a run will cost before it is paid for: tokens, seconds by phase, memory, disk and GPU-hours, beside GRPO's.

    python -m openrlhf_marge.cli.plan --machine H100 --pilot DUMP -- FLAGS OF THE LAUNCH
    python -m openrlhf_marge.cli.plan --machine H100 --prompt_tokens 120 --response_tokens 400 -- FLAGS ...
    python -m openrlhf_marge.cli.plan --measure MACHINE.json -- FLAGS ...

What follows the two dashes are the flags of train_ppo_ray, as in your script. DUMP is the --marge.dump_dir of a run
over a few problems, or the --out of cli.explore. --measure trains twice for some iterations with these flags on the
machine it is started on, and writes what it reached; MACHINE.runs/run_1/dump then serves as a pilot, too.

Exit status: 0, 1 where the run does not fit or the measurement fails, 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.data.files import check_out, write_json
from openrlhf_marge.data.redaction import redacted_words
from openrlhf_marge.planning.machines import PRESETS, Machine, find_machine, write_machine
from openrlhf_marge.planning.shape import read_shape


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--machine", help=f"{', '.join(PRESETS)}, or a JSON file that --measure wrote")
    parser.add_argument("--pilot", type=Path, metavar="DUMP", help="what a few problems brought")
    parser.add_argument("--prompt_tokens", type=int, metavar="N", help="without a pilot: mean tokens of a prompt")
    parser.add_argument("--response_tokens", type=int, metavar="N", help="the same of a whole response")
    parser.add_argument(
        "--states", type=float, metavar="N", help="the same: states of a problem with guidance [as the flags count on]"
    )
    parser.add_argument(
        "--without_guidance", type=float, default=0.2, metavar="SHARE",
        help="the same: problems of which no response can guide [%(default)s]",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config.json of the model, where its name cannot be had"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the plan as JSON")
    parser.add_argument("--measure", type=Path, metavar="FILE", help="measure this machine instead, and write FILE")
    parser.add_argument(
        "--measure_problems", type=int, metavar="N", help="of a rollout while measuring [--rollout.batch_size]"
    )
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="of the launch, after --")
    return parser.parse_args(argv)


def plan(args: argparse.Namespace) -> str:
    """The plan as text; ValueError for bad input, RuntimeError where the run does not fit."""
    from openrlhf_marge.host.launch.planned_launch import read_launch
    from openrlhf_marge.planning.advice import advice
    from openrlhf_marge.planning.pilot_of_flags import pilot_of
    from openrlhf_marge.planning.planner import Planner
    from openrlhf_marge.planning.text import amount, memory_lines, table
    from openrlhf_marge.planning.variants import baseline_of

    check_given(args)
    if not args.machine:
        raise ValueError(f"--machine is not set; give {', '.join(PRESETS)}, or a file that --measure wrote")
    machine = find_machine(args.machine)
    if args.out:
        check_out(args.out)
    with elsewhere(machine):
        launch, problems = read_launch(args.flags)
    shape = read_shape(launch.actor.model_name_or_path, args.config)
    planner = Planner(problems=problems, shape=shape, machine=machine, pilot=pilot_of(args, launch, shape.vocab))
    planned = planner.plan(launch)
    stock = planner.plan(baseline_of(launch, args.flags))
    print(f"{launch.actor.model_name_or_path} ({amount(shape.parameters)} parameters) on {machine.name}")
    print(f"{problems:,} problems, {launch.train.num_episodes} episodes; lengths from {planner.pilot.name}\n")
    print(f"{'':38}{'this launch':>20}{'GRPO':>20}")
    print("\n".join([*table([planned, stock], launch, machine.noun), "", *memory_lines(planned, machine)]))
    print("\n".join(["", *advice(planner, launch, planned)]))
    if args.out:
        both = {"launch": asdict(planned), "grpo": asdict(stock)}
        write_json(args.out, {"machine": asdict(machine), "model": asdict(shape), "problems": problems, **both})
    if planned.misfit:
        raise RuntimeError(f"the run does not fit: {planned.misfit}")
    hours = f"{planned.device_hours:,.1f} {machine.noun}-hours, GRPO {stock.device_hours:,.1f}"
    return hours if args.out is None else f"{hours}; {args.out}"


@contextmanager
def elsewhere(machine: Machine) -> Iterator[None]:
    """What the stack cannot do on this machine's CPU is no fault of a launch that is planned for GPUs."""
    accelerator = os.environ.pop("DS_ACCELERATOR", None) if machine.noun == "GPU" else None
    try:
        yield
    finally:
        if accelerator:
            os.environ["DS_ACCELERATOR"] = accelerator


def check_given(args: argparse.Namespace) -> None:
    """ValueError without a launch."""
    if not args.flags:
        raise ValueError("there is no launch; give the flags of your script after --")


def measure(args: argparse.Namespace) -> str:
    """Measure this machine; ValueError for bad input, RuntimeError when a run fails."""
    from openrlhf_marge.host.launch.planned_launch import read_launch
    from openrlhf_marge.host.standalone.measured_runs import measured_runs, sized, stack_environment
    from openrlhf_marge.planning.devices import method_of
    from openrlhf_marge.planning.fitting import fitted, observe
    from openrlhf_marge.planning.local import machine_here
    from openrlhf_marge.runs.processes import Bars

    check_given(args)
    check_out(args.measure)
    launch, _ = read_launch(args.flags)
    if method_of(launch) is None:
        raise ValueError("--measure takes a launch with --experience_maker marge, whose dump tells what was sampled")
    base = machine_here(args.machine, args.measure.stem)
    shape = read_shape(launch.actor.model_name_or_path, args.config)
    launches = sized(launch, args.measure_problems or launch.rollout.batch_size)
    folder = args.measure.with_suffix(".runs").absolute()
    with stack_environment() as variables:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what runs is ended, too
        bars = Bars()
        runs = measured_runs(args.flags, launches, folder, variables, bars)
        bars.end()
    observed = [o for run, (of_run, _) in zip(runs, launches, strict=True) for o in observe(run, of_run, shape, base)]
    machine = fitted(observed, launch, shape, base, args.measure.stem)
    write_machine(args.measure, replace(machine, measured_with=" ".join(redacted_words(args.flags))))
    return f"{args.measure}: from {len(observed)} iterations; {runs[0] / 'dump'} serves as --pilot"


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return exit_status("plan", lambda: measure(args) if args.measure else plan(args))


if __name__ == "__main__":
    sys.exit(main())
