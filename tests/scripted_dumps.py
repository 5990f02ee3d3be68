"""Dumps for tests of training data: texts in, token ids of the embedded tokenizer in the files."""

from __future__ import annotations

import functools
from pathlib import Path

from openrlhf_marge import Completion, Guidance, MargeConfig, Problem, StateGroup, split_into_states
from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.data.dump import DumpWriter
from openrlhf_marge.decoding import decode_pieces
from openrlhf_marge.host.rollout.tokens import encode
from openrlhf_marge.seeds import stable_hash

COT_PREFIX = "Let's think step by step.\n\nStep 1:"
GUIDANCE = COT_PREFIX + " 3+4=7\nStep 2: 7+1=9\nStep 3: 9+1=10\nThe answer is: \\boxed{10}."
RIGHT, WRONG = " 7+1=8\n\nThe answer is: \\boxed{9}.", " it's \u00e9\u4f60 9\n"


@functools.cache
def tokenizer():
    return build_tokenizer()


def save_model(folder: Path) -> str:
    tokenizer().save_pretrained(folder)
    return str(folder)


def problem(question: str = "What is 3+4+1+1?", room: int = 200) -> Problem:
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer().apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = encode(tokenizer(), prompt)
    return Problem(id=question, prompt=prompt, label="9", prompt_ids=ids, max_response_tokens=room)


def completion(text: str, reward: float = 1.0, *, truncated: bool = False) -> Completion:
    end = () if truncated else (tokenizer().eos_token_id,)
    ids = encode(tokenizer(), text) + end
    return Completion(token_ids=ids, reward=reward, is_correct=reward > 0.5, truncated=truncated)


def mixed(correct: int, incorrect: int) -> list[Completion]:
    """Different completions, so many of each kind."""
    right = [completion(f" {i}{RIGHT}") for i in range(correct)]
    return right + [completion(f" {i}{WRONG}", 0.0) for i in range(incorrect)]


def visit(completions, *, text: str | None = GUIDANCE, correct: bool = False, of: Problem | None = None, number=0):
    """The groups of a visit: a list of completions per state, as many as the guidance has."""
    of, encoded = of or problem(), functools.partial(encode, tokenizer())
    pieces = functools.partial(decode_pieces, tokenizer())
    guidance = Guidance(token_ids=encoded(text), is_correct=correct, pass_rate=0.5)
    states = split_into_states(of, [guidance], encoded(COT_PREFIX), MargeConfig(), pieces)
    return [
        StateGroup(
            id=stable_hash(of.id, number, state.prefix_ids) >> 1, problem=of, state=state, n_states=len(states),
            completions=tuple(of_state),
        )
        for state, of_state in zip(states, completions, strict=True)
    ]  # fmt: skip


def write_dump(folder: Path, *rollouts, candidates=(), stop=()) -> Path:
    """One file per list of groups; the candidates are of the last."""
    writer = DumpWriter(folder, "mean", stop)
    for step, groups in enumerate(rollouts, start=1):
        writer.write(step, groups, candidates if step == len(rollouts) else ())
    writer.wait()
    return folder
