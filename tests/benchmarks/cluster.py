"""The package's scheduler, queue, records and sampler on a simulated cluster, in virtual time; prints figures.

    python tests/benchmarks/cluster.py                               # how balance depends on the size of a rollout
    python tests/benchmarks/cluster.py --engines 1000 --problems 20000 --rollouts 10 --median 40
    python tests/benchmarks/cluster.py --explorers 8 --problems 2000 # the same by --marge.explorers 8
    python tests/benchmarks/cluster.py --faults 40                   # engines and graders that fail, and resumes

Engines, grader and prompt loader are simulated; between them runs the package itself, from the prompts to the groups
that are handed to the trainer, and each rollout's record. The driver's CPU time is that of its one thread, and of all
its threads: the tokenizer's decode on every core that there is. Ray's own work is not in it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from simulated_cluster import Cluster, Shape
from simulated_faults import run_with_faults
from simulated_run import Taken, roll_out, silent, without_experiences

from virtual_time import virtual_time


def simulated(shape: Shape, *, experiences: bool = False) -> list[Taken]:
    """The rollouts of a run without faults; each is printed as it comes."""
    with tempfile.TemporaryDirectory() as model, virtual_time() as clock, silent():
        cluster = Cluster(shape, clock, Path(model))
        generator, kwargs = cluster.generator()
        taken = []
        for _ in range(shape.rollouts):
            if experiences:
                taken.append(roll_out(cluster, generator, kwargs))
            else:
                with without_experiences():
                    taken.append(roll_out(cluster, generator, kwargs))
            print(sentence(shape, taken[-1:], sum(t.states for t in taken)), flush=True)
        return taken


def most_over_mean(values: Sequence[float]) -> float:
    return max(values) / statistics.mean(values)


def sentence(shape: Shape, taken: Sequence[Taken], states_so_far: int) -> str:
    """What the rollouts took, in one line."""
    states, virtual = sum(t.states for t in taken), sum(t.virtual for t in taken)
    busy = [sum(of_engine) for of_engine in zip(*(t.busy for t in taken), strict=True)]
    made = [sum(of_engine) for of_engine in zip(*(t.made for t in taken), strict=True)]
    slots = sum(sum(t.slots) for t in taken) / virtual / shape.engines / shape.speed.sequences
    thread, process = (1000 * sum(c) / states for c in zip(*((t.thread, t.process) for t in taken), strict=True))
    tail = statistics.mean(1 - t.nine_tenths / t.virtual for t in taken)
    cached = sum(t.cached_tokens for t in taken) / sum(t.prompt_tokens for t in taken)
    explored = ""
    if shape.explorers > 1:
        by_explorer = [1000 * sum(seconds) for seconds in zip(*(t.explorers for t in taken), strict=True)]
        explored = (
            f" beside {shape.explorers} explorers of {sum(by_explorer) / states:.3f} ms a state, the longest "
            f"{most_over_mean(by_explorer):.3f} of the mean, {sum(t.packed for t in taken) / states:.0f} bytes a state"
        )
    return (
        f"{shape.engines} engines, {states_so_far} states so far: {thread:.3f} ms of the driver's thread a state"
        f"{explored or f' ({process:.3f} of all its threads)'}, "
        f"{sum(t.tokens for t in taken) / states:.0f} tokens a state; engines "
        f"busy {statistics.mean(busy) / virtual:.2f} of {virtual:.0f} s, {slots:.2f} of their places filled; last "
        f"tenth of the answers in {tail:.2f} of the time; longest engine {most_over_mean(busy):.3f} of the mean in "
        f"seconds, {most_over_mean(made):.3f} in tokens; {cached:.3f} of prompt tokens cached; driver's share of the "
        f"time {states * thread / 1000 / virtual:.3f}; peak {peak_gib():.2f} GiB"
    )


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", type=int, default=64, help="simulated engines [64]")
    parser.add_argument("--problems", type=int, default=4096, help="problems of a rollout, of 5 states each [4096]")
    parser.add_argument("--rollouts", type=int, default=1, help="rollouts [1]")
    parser.add_argument("--completions", type=int, default=8, help="completions of a state [8]")
    parser.add_argument("--median", type=float, default=100, help="tokens of half of the responses [100]")
    parser.add_argument("--sigma", type=float, default=0.8, help="of the log-normal lengths [0.8]")
    parser.add_argument("--max_response", type=int, default=2048, help="most tokens of a response [2048]")
    parser.add_argument("--slow", type=int, default=0, help="engines that take twice as long [0]")
    parser.add_argument("--explorers", type=int, default=1, help="processes that explore [1]")
    parser.add_argument("--experiences", action="store_true", help="make OpenRLHF's Experiences, too")
    parser.add_argument("--faults", type=int, default=0, help="faults to inject instead, on a small cluster")
    parser.add_argument("--seed", type=int, default=0, help="of the faults [0]")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    if args.faults:
        print(run_with_faults(args.faults, args.seed))
        return
    shape = Shape(
        engines=args.engines, problems=args.problems, rollouts=args.rollouts, completions=args.completions,
        max_response=args.max_response, slow=args.slow, explorers=args.explorers,
        responses=dict(median=args.median, sigma=args.sigma),
    )  # fmt: skip
    taken = simulated(shape, experiences=args.experiences)
    print("all: " + sentence(shape, taken, sum(t.states for t in taken)))


if __name__ == "__main__":
    main()
