"""A guided step against a stock step of OpenRLHF at equal completions and generated tokens; prints the ratio.

    python tests/benchmarks/step.py [--rounds 3]

Both run in turn on one Ray cluster. MARGE explores 8 problems x 3 states; stock OpenRLHF samples 24 prompts, with its
response limit set to the mean length of the guided completions. Steps that sample candidates or warm up are left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from openrlhf_marge.host.standalone.local_ray import local_ray

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from stack import Run, TinyTask, make_task, train

N_PROBLEMS, N_STATES, N_COMPLETIONS = 8, 3, 8
N_TRAIN, N_PASSES = 48, 3  # the first pass over the data finds guidance
WARM_UP = N_TRAIN // N_PROBLEMS  # steps of the first pass
COMMON = f"--rollout.n_samples_per_prompt {N_COMPLETIONS} --train.batch_size 64 --rollout.micro_batch_size 32 "
COMMON += "--train.micro_batch_size 32 --algo.kl.use_loss --algo.kl.estimator k3 --vllm.enable_prefix_caching"


def guided(task: TinyTask, out: Path, environment: dict[str, str]) -> Run:
    flags = f"--experience_maker marge --marge.split tokens --marge.n_states {N_STATES} --marge.n_candidates 8 "
    flags += "--marge.share_prefix"
    size = f"--rollout.batch_size {N_PROBLEMS} --train.num_episodes {N_PASSES}"
    return train(task, out, f"{COMMON} {flags} {size} --rollout.max_new_tokens 40", environment)


def stock(task: TinyTask, out: Path, environment: dict[str, str], response_tokens: int) -> Run:
    """The same number of steps of the same number of completions, each from its own prompt."""
    flags = "--algo.advantage.estimator group_norm"
    size = f"--rollout.batch_size {N_PROBLEMS * N_STATES} --train.num_episodes {N_PASSES * N_STATES}"
    return train(task, out, f"{COMMON} {flags} {size} --rollout.max_new_tokens {response_tokens}", environment)


def steady(run: Run, tag: str, warm_up: int) -> list[float]:
    return run.values(tag)[warm_up:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="times that both run [3]")
    rounds = parser.parse_args().rounds
    seconds, sampling, tokens = ({"guided": [], "stock": []} for _ in range(3))
    with tempfile.TemporaryDirectory() as folder, local_ray() as environment:
        task = make_task(Path(folder), N_TRAIN)
        for number in range(rounds):
            runs = {"guided": guided(task, Path(folder, f"guided{number}"), environment)}
            length = statistics.mean(steady(runs["guided"], "rollout/response_length_mean", WARM_UP))
            # Some responses end before the limit, so the limit is above the mean that is wanted.
            runs["stock"] = stock(task, Path(folder, f"stock{number}"), environment, round(length * 1.1))
            for name, run in runs.items():
                seconds[name] += steady(run, "timing/step_total", WARM_UP)
                sampling[name] += steady(run, "timing/generation", WARM_UP)
                lengths = steady(run, "rollout/response_length_mean", WARM_UP)
                counts = steady(run, "rollout/num_samples", WARM_UP)
                tokens[name] += [length * count for length, count in zip(lengths, counts, strict=True)]
    for name in seconds:
        per_step = statistics.mean(tokens[name])
        median, steps = statistics.median(seconds[name]), len(seconds[name])
        generation = statistics.median(sampling[name])
        print(
            f"{name:7} median step {median:.3f} s, its generation and grading {generation:.3f} s, "
            f"over {steps} steps of {per_step:.0f} generated tokens"
        )
    ratios = [statistics.median(x["guided"]) / statistics.median(x["stock"]) for x in (seconds, sampling)]
    in_tokens = statistics.mean(tokens["guided"]) / statistics.mean(tokens["stock"])
    print("guided / stock: {:.2f} in seconds a step, {:.2f} in generation alone".format(*ratios), end=", ")
    print(f"{in_tokens:.2f} in generated tokens")


if __name__ == "__main__":
    main()
