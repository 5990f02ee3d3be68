"""OpenRLHF's Actor with and without shared prefixes at realistic lengths; prints ratios of seconds, memory and tokens.

    python tests/benchmarks/prefix_sharing.py [--states 5 8] [--rounds 3] [--threads 1]

A random Qwen2 of 13 million parameters in float32 gets the completions of one problem: a prompt of 200 tokens, a
guidance of 600, ``--states`` evenly spaced, 8 completions each. Three ways run in turn, each in a process of its own:

    padded   OpenRLHF's Actor
    shared   --marge.share_prefix
    distinct OpenRLHF's Actor on as many tokens as are distinct, in rows that share nothing

Old log-probs are a forward without gradients; training is a forward and a backward. Seconds are of CPU time, which a
busy machine does not change much. ``--ds.packing_samples`` is not among the ways: without flash-attn it takes a dense
mask of all tokens, and did not end within half an hour here.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

PROMPT, RESPONSE, COMPLETIONS = 200, 600, 8
WAYS = ("padded", "shared", "distinct")
MODEL = dict(vocab_size=8000, hidden_size=384, intermediate_size=1024, num_hidden_layers=4)
HEADS = dict(num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=1024)


def rows_of_a_problem(n_states: int) -> tuple[list[list[int]], list[int]]:
    """Token ids of all completions, and where the first action of each stands."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def draw(n: int) -> list[int]:
        return torch.randint(1, MODEL["vocab_size"], (n,), generator=generator).tolist()

    trunk = draw(PROMPT + RESPONSE)
    starts = [PROMPT + RESPONSE * state // n_states for state in range(n_states) for _ in range(COMPLETIONS)]
    # Responses end at different lengths; the mean is RESPONSE.
    ends = torch.randint(RESPONSE - 150, RESPONSE + 151, (len(starts),), generator=generator).tolist()
    return [
        trunk[:start] + draw(max(PROMPT + end - start, 1)) for start, end in zip(starts, ends, strict=True)
    ], starts


def batch(rows: list[list[int]], starts: list[int]) -> tuple[Any, Any, Any]:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    sequences = pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    places = torch.arange(sequences.shape[1])
    mask = (places < torch.tensor([len(row) for row in rows])[:, None]).long()
    actions = mask[:, 1:].bool() & (places[1:] >= torch.tensor(starts)[:, None])
    return sequences, actions, mask


def distinct_rows(rows: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Rows of the mean length that share nothing, with as many tokens as ``rows`` have distinct ones."""
    import torch

    from openrlhf_marge.prefix_sharing import grow

    sequences, _, mask = batch(rows, [0] * len(rows))
    n_distinct = len(grow(sequences, mask).ids)
    length = round(statistics.mean(map(len, rows)))
    ids = torch.randint(1, MODEL["vocab_size"], (n_distinct,), generator=torch.Generator().manual_seed(1)).tolist()
    cut = [ids[n : n + length] for n in range(0, n_distinct, length)]
    cut = [row for row in cut if len(row) > PROMPT] or [ids]
    return cut, [PROMPT * len(row) // (PROMPT + RESPONSE) for row in cut]


def actor(way: str) -> Any:
    import torch
    from openrlhf.models import Actor
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from openrlhf_marge.host.training.shared_prefix import SharedForward

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**MODEL, **HEADS, attn_implementation="sdpa"))
    model.config.use_cache = False
    policy = Actor(model)
    policy.packing_samples = False  # set for models that it loads itself
    if way == "shared":
        policy.forward = SharedForward(policy, model)
    return policy


def measure(way: str, n_states: int, rounds: int, threads: int) -> dict[str, Any]:
    """Median seconds of both passes, growth of the process's peak memory in MiB, tokens of the rows."""
    import torch

    torch.set_num_threads(threads)
    rows, starts = rows_of_a_problem(n_states)
    if way == "distinct":
        rows, starts = distinct_rows(rows)
    policy, tensors = actor(way), batch(rows, starts)
    before = _peak()
    seconds: dict[str, list[float]] = {"old log-probs": [], "training": []}
    for _ in range(rounds + 1):
        for name, elapsed in _passes(policy, *tensors):
            seconds[name].append(elapsed)
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first one warms up
    return medians | {"memory": _peak() - before, "tokens": sum(map(len, rows))}


def _passes(policy: Any, sequences: Any, actions: Any, mask: Any) -> Iterator[tuple[str, float]]:
    import torch

    started = time.process_time()
    with torch.no_grad():
        policy(sequences, actions, mask)
    yield "old log-probs", time.process_time() - started
    started = time.process_time()
    log_probs, _ = policy(sequences, actions, mask, return_output=True)
    (log_probs.sum() / actions.sum()).backward()
    yield "training", time.process_time() - started
    policy.zero_grad(set_to_none=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(way: str, n_states: int, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", way, "--states", str(n_states)]
    command += ["--rounds", str(args.rounds), "--threads", str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, nargs="+", default=[5, 8], help="states of the problem [5 8]")
    parser.add_argument("--rounds", type=int, default=3, help="times that every pass is measured [3]")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch [1]")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.states[0], args.rounds, args.threads)))
        return
    for n_states in args.states:
        found = {way: _in_a_process(way, n_states, args) for way in WAYS}
        shared, distinct = found["shared"], found["distinct"]
        print(f"{n_states} states: {found['padded']['tokens']} tokens, {distinct['tokens']} of them distinct")
        for way in ("padded", "distinct"):
            ratios = {name: found[way][name] / shared[name] for name in ("old log-probs", "training", "memory")}
            both = sum(found[way][n] for n in ("old log-probs", "training"))
            both /= sum(shared[n] for n in ("old log-probs", "training"))
            listed = ", ".join(f"{ratio:.2f} in {name}" for name, ratio in ratios.items())
            print(f"  {way:8} / shared: {listed}; {both:.2f} in both passes", flush=True)


if __name__ == "__main__":
    main()
