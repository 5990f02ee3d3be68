"""How many completions, and log-probs of sampled tokens, depend on which requests share a batch of the vLLM engine.

    python tests/benchmarks/determinism.py --model DIR [--completions 10000] [--dtype bfloat16] [--stock]

Requests as an exploration makes them, 8 completions of every state of embedded problems, are answered by one engine in
this process: in one order, in it again, in another, and each half by itself, as two engines would. Every request has
its seed. The engine is that of --train.full_determinism_enable, with --stock vLLM's own. DIR is a model of
`python -m openrlhf_marge.arithmetic.pretrain`; without it an untrained one answers.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from openrlhf_marge.arithmetic.problems import split_problems
from openrlhf_marge.arithmetic.sampling import TEMPERATURE, TOP_P, chat_prompt
from openrlhf_marge.arithmetic.teacher import NoisyTeacher
from openrlhf_marge.runs.cpu import cpu_environment

sys.path.append(str(Path(__file__).parents[1]))  # helpers of the tests

from stack import make_task

N_STATES, N_COMPLETIONS, MAX_LEN, MAX_NEW_TOKENS = 5, 8, 192, 80
WORKER = "openrlhf.trainer.ray.vllm_cpu_worker.BatchInvariantCPUWorker"
Answer = tuple[tuple[int, ...], tuple[float, ...]]
"""Token ids of a completion and the log-prob of each."""


@dataclass(frozen=True)
class Request:
    prompt_ids: list[int]
    max_tokens: int
    seed: int


def make_requests(tokenizer: Any, n: int) -> list[Request]:
    """Prompts with parts of a response by the noisy teacher."""
    rng, teacher, requests = random.Random(0), NoisyTeacher(0), []
    for problem in split_problems(0, -(-n // N_STATES), 1)[0]:
        prompt = tokenizer(chat_prompt(tokenizer, problem))["input_ids"]
        response = tokenizer(teacher.demonstrate(problem, rng))["input_ids"]
        for cut in (len(response) * state // N_STATES for state in range(N_STATES)):
            requests.append(Request([*prompt, *response[:cut]], MAX_NEW_TOKENS - cut, rng.randrange(2**31)))
    return rng.sample(requests, n)


def make_engine(model: Path, dtype: str, stock: bool) -> Any:
    """The engine with the arguments that OpenRLHF gives it; with or without full determinism's, chunks aside."""
    import vllm

    exact = {} if stock else {"worker_cls": WORKER}
    return vllm.LLM(
        str(model), enforce_eager=True, max_model_len=MAX_LEN, dtype=dtype, enable_prefix_caching=stock,
        enable_chunked_prefill=False, max_num_batched_tokens=4096, **exact,
    )  # fmt: skip


def answer(engine: Any, requests: Sequence[Request], order: Sequence[int]) -> dict[tuple[int, int], Answer]:
    """(request, number of the completion) -> what was sampled, the requests having arrived in this order."""
    from vllm import SamplingParams, TokensPrompt

    params = [
        SamplingParams(
            n=N_COMPLETIONS, max_tokens=requests[i].max_tokens, seed=requests[i].seed, temperature=TEMPERATURE,
            top_p=TOP_P, min_tokens=1, detokenize=False, logprobs=1,
        )
        for i in order
    ]  # fmt: skip
    prompts = [TokensPrompt(prompt_token_ids=requests[i].prompt_ids) for i in order]
    outputs = engine.generate(prompts, params, use_tqdm=False)
    return {
        (i, c.index): (tuple(c.token_ids), tuple(e[t].logprob for t, e in zip(c.token_ids, c.logprobs, strict=True)))
        for i, output in zip(order, outputs, strict=True)
        for c in output.outputs
    }


def differences(one: dict[Any, Answer], other: dict[Any, Answer]) -> str:
    """Of the completions in ``other``; log-probs up to the first other token, which changes all that follow."""
    completions = tokens = log_probs = 0
    for key, (ids, values) in other.items():
        ids_before, values_before = one[key]
        completions += ids != ids_before
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, ids_before, strict=False)))
        tokens += same
        log_probs += sum(a != b for a, b in zip(values[:same], values_before[:same], strict=True))
    return f"{completions} of {len(other)} completions, log-probs of {log_probs} of {tokens} tokens"


def measure(engine: Any, requests: Sequence[Request]) -> Iterator[str]:
    """One line per comparison."""
    places = range(len(requests))
    start = time.process_time()
    first = answer(engine, requests, places)
    n_tokens = sum(len(ids) for ids, _ in first.values())
    yield f"{n_tokens} tokens, {n_tokens / (time.process_time() - start):.0f} per second of CPU time"
    yield "the same again: " + differences(first, answer(engine, requests, places))
    other_order = random.Random(1).sample(places, len(requests))
    yield "another order: " + differences(first, answer(engine, requests, other_order))
    halves = answer(engine, requests, places[::2]) | answer(engine, requests, places[1::2])
    yield "two engines: " + differences(first, halves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder; an untrained model without it")
    parser.add_argument("--completions", type=int, default=10_000, help="about so many [%(default)s]")
    parser.add_argument("--dtype", default="bfloat16", help="[%(default)s]")
    parser.add_argument("--stock", action="store_true", help="vLLM's own engine")
    args = parser.parse_args()
    os.environ.update(cpu_environment())
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or make_task(Path(folder)).folder / "model"
        from transformers import AutoTokenizer

        requests = make_requests(AutoTokenizer.from_pretrained(model), -(-args.completions // N_COMPLETIONS))
        for line in measure(make_engine(model, args.dtype, args.stock), requests):
            print(line, flush=True)


if __name__ == "__main__":
    main()
