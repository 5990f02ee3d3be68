"""A graded completion -> OpenRLHF's Experience, and what travels with it in ``info``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator

from openrlhf_marge.method.groups import StateGroup
from openrlhf_marge.types import Completion

# Keys in Experience.info; taken out again before anything is logged or trained on.
GROUP_ID = "group_id"
EPISODE = "episode"
SEGMENT = "segment"  # guidance tokens before the completion that are trained on as well
VALUE_GAIN = "value_gain"  # their advantage
WEIGHTS = "weights"  # version of the weights that the completion began with
# (1, T - 1), of every token but the first, where a completion brings its own; one NaN where its group decides.
TOKEN_ADVANTAGES = "token_advantages"


def to_experience(
    generator: SamplesGenerator, group: StateGroup, completion: Completion, episode: int, with_segment: bool,
    generate_kwargs: dict[str, Any],
) -> Experience:  # fmt: skip
    """One completion: prompt and guidance prefix are context, it is the action.

    ``with_segment`` makes the guidance tokens since the state before action, too; tokens without an advantage, where
    the completion brings its own, are none.
    """
    context = [*group.problem.prompt_ids, *group.state.prefix_ids]
    segment = group.state.segment if with_segment else 0
    log_probs = completion.log_probs
    experience = generator._process_response_into_experience(
        {
            "prompt": group.problem.prompt,
            "label": group.problem.label,
            "observation_tokens": [*context, *completion.token_ids],
            "action_ranges": _action_ranges(completion, len(context), segment),
            "rollout_log_probs": None if log_probs is None else [0.0] * len(context) + list(log_probs),
            "reward": completion.reward,
            "scores": float(completion.is_correct),
            "truncated": completion.truncated,
            "extra_logs": dict(completion.extra_logs),
        },
        **generate_kwargs,
    )
    experience.info[GROUP_ID] = torch.tensor([group.id])
    experience.info[EPISODE] = torch.tensor([episode])
    experience.info[SEGMENT] = torch.tensor([segment])
    experience.info[VALUE_GAIN] = torch.tensor([group.value_gain])
    experience.info[WEIGHTS] = torch.tensor([completion.weight_versions[0]])
    own = completion.advantages
    of_tokens = [math.nan] if own is None else [*[0.0] * (len(context) - 1), *(a or 0.0 for a in own)]
    experience.info[TOKEN_ADVANTAGES] = torch.tensor([of_tokens])
    return experience


def _action_ranges(completion: Completion, start: int, segment: int) -> list[tuple[int, int]]:
    """Where the tokens that are trained on begin and end; the completion begins at ``start``."""
    if completion.advantages is None:
        return [(start - segment, start + len(completion.token_ids))]
    ranges = []
    for is_trained, run in groupby(enumerate(completion.advantages, start), lambda pair: pair[1] is not None):
        places = [place for place, _ in run]
        if is_trained:
            ranges.append((places[0], places[-1] + 1))
    return ranges


def with_common_logs(groups: Sequence[StateGroup]) -> tuple[Sequence[StateGroup], Collection[str]]:
    """The groups with those extra logs that all completions have, and the names of the others.

    The host averages each name over a batch, and fails where a sample lacks it. Groups that waited for a batch may
    have been graded by another reward function, before the run was resumed.
    """
    completions = [completion for group in groups for completion in group.completions]
    counts = Counter(name for completion in completions for name, _ in completion.extra_logs)
    some = {name for name, n in counts.items() if n < len(completions)}
    if not some:
        return groups, some

    def cut(completion: Completion) -> Completion:
        return replace(completion, extra_logs=tuple(log for log in completion.extra_logs if log[0] not in some))

    return [replace(group, completions=tuple(map(cut, group.completions))) for group in groups], some


def to_experiences(
    generator: SamplesGenerator, group: StateGroup, episode: int, credits_prefix: bool, generate_kwargs: dict[str, Any]
) -> list[Experience]:
    """All completions of a group that are trained on, in their order.

    With ``credits_prefix`` the first one brings the segment before the state: VinePPO's objective has every token
    once, and so have then the KL and the number of tokens that the loss is divided by.
    """
    return [
        to_experience(generator, group, completion, episode, credits_prefix and place == 0, generate_kwargs)
        for place, completion in enumerate(group.trained)
    ]
