"""The pilot that a plan's flags name, checked, or one made from their lengths."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.explorations.guided import guided_states
from openrlhf_marge.models import load_tokenizer
from openrlhf_marge.planning.by_hand import Lengths, pilot_by_hand
from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.pilot import Pilot, read_pilot
from openrlhf_marge.planning.pilot_checks import check_pilot, check_prompt


def pilot_of(args: argparse.Namespace, launch: Any, vocab: int) -> Pilot:
    """``args`` are the command's, ``vocab`` the model's tokens; ValueError where the launch does not go with it."""
    by_hand = args.prompt_tokens is not None and args.response_tokens is not None
    if (args.pilot is not None) == by_hand:
        raise ValueError("give either --pilot, or --prompt_tokens and --response_tokens")
    if args.pilot:
        pilot = read_pilot(args.pilot)
        check_pilot(pilot, launch, vocab)
        if (Path(launch.actor.model_name_or_path) / "tokenizer_config.json").is_file():
            tokenizer = load_tokenizer(launch.actor.model_name_or_path)
            check_prompt(pilot, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])
        return pilot
    config = method_of(launch)
    s0 = round(len(config.cot_prefix) / 3) if config and config.split == "step" else 0  # letters of a token
    states = states_of(config, args.without_guidance) if args.states is None else args.states
    lengths = Lengths(
        prompt=args.prompt_tokens, response=args.response_tokens, s0=s0, states=states,
        without_guidance=args.without_guidance,
    )  # fmt: skip
    return pilot_by_hand(lengths, launch)


def states_of(config: MargeConfig | None, without_guidance: float) -> float:
    """States of a problem with guidance, as the flags count on; --marge.expected_states is the mean of all.

    Of those without guidance s_0 alone counts, with carried guidance nothing. ``vanilla`` has completions of s_0 in
    place of the states, for equal tokens half as many.
    """
    if config is None or config.explore == "frontier":
        return 1.0
    expected, guided = config.expected_states, 1 - without_guidance
    if expected is None or not guided:
        return guided_states(config) if config.explore == "vanilla" else config.scheduled_states
    if config.explore == "guided" and config.guidance_source == "carried":
        return max(1.0, expected / guided)
    halved = config.explore == "vanilla" and config.vanilla_match == "tokens"
    return max(1.0, 1 + (2 if halved else 1) * (expected - 1) / guided)
