"""How busy exploration keeps the engines: its tokens per second against those of the same requests given all at once.

    python tests/benchmarks/explore.py --model MODEL --data DATA.jsonl [--problems 256] [--rounds 3]

Both run in turn on the same engine; the ratio is that of the medians. Needs a chat template in the model, and the
columns "input" and "label" in the data. DS_ACCELERATOR=cpu in the environment says that there is no GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import ray
from openrlhf.utils.config import hierarchize

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.exploration import ExplorationFolder
from openrlhf_marge.exploration.flags import parse_args
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.standalone import explore as offline
from openrlhf_marge.host.standalone.engines import offline_engines, ray_cluster
from openrlhf_marge.method.arguments import from_namespace


class Recording:
    """An engine that notes its requests and the tokens that they gave."""

    def __init__(self, engine) -> None:
        self.requests, self.tokens = [], 0
        self.generate = SimpleNamespace(remote=self._generate)
        self._engine = engine

    async def _generate(self, ids, params):
        self.requests.append((ids, params))
        output = await self._engine.generate.remote(ids, params)
        self.tokens += count_tokens(output)
        return output


def count_tokens(output) -> int:
    return sum(len(o.token_ids) for o in output.outputs)


def explored(engine, args) -> tuple[float, list]:
    """Tokens per second of an exploration, and its requests."""
    ray.get(engine.reset_prefix_cache.remote())
    config = args.marge = from_namespace(args.marge)
    recording = Recording(engine)
    tokenizer = tokens.load_tokenizer(args)
    problems = offline.read_problems(args, config, tokenizer)
    with tempfile.TemporaryDirectory() as out:
        folder = ExplorationFolder(Path(out), [p.id for p in problems], args.problems_per_file, config.advantage)
        start = time.monotonic()
        asyncio.run(offline.explore_on([recording], args, config, tokenizer, problems, folder))
        folder.finish()
        return recording.tokens / (time.monotonic() - start), recording.requests


def all_at_once(engine, requests) -> float:
    """Tokens per second of the requests, none of them waiting for an answer to another."""
    ray.get(engine.reset_prefix_cache.remote())
    start = time.monotonic()
    outputs = ray.get([engine.generate.remote(ids, params) for ids, params in requests])
    return sum(map(count_tokens, outputs)) / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--problems", default="256")
    parser.add_argument("--max_len", default="96")
    parser.add_argument("--rounds", type=int, default=3)
    own = parser.parse_args()
    flags = ["--out", "unused", "--actor.model_name_or_path", own.model, "--data.prompt_dataset", own.data]
    flags += ["--data.label_key", "label", "--data.apply_chat_template", "--vllm.enforce_eager"]
    flags += ["--data.max_len", own.max_len, "--data.max_samples", own.problems, "--reward.remote_url", REWARD_FILE]
    args = hierarchize(parse_args(flags))
    guided, at_once = [], []
    with ray_cluster(), offline_engines(args) as (engine,):
        _, requests = explored(engine, args)  # warms up engine and grader
        all_at_once(engine, requests)
        for _ in range(own.rounds):
            rate, requests = explored(engine, args)
            guided.append(rate)
            at_once.append(all_at_once(engine, requests))
            print(f"explore {guided[-1]:.0f} tokens/s, all at once {at_once[-1]:.0f} tokens/s", flush=True)
    ratio = statistics.median(guided) / statistics.median(at_once)
    print(f"explore / all at once: {ratio:.2f} (medians of {own.rounds} rounds, {len(requests)} requests)")


if __name__ == "__main__":
    main()
