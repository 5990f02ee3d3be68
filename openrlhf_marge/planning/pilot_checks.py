"""Refusals of a pilot that is of another model, or of flags by which its tokens are others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.presets import PRESETS
from openrlhf_marge.planning.devices import method_of
from openrlhf_marge.planning.pilot import Pilot
from openrlhf_marge.runs.folder import explored_with, flag_values
from openrlhf_marge.runs.summary import find_summary

# Flags by which tokens differ, where OpenRLHF and cli.explore have the same ones.
ALIKE = (
    "--data.apply_chat_template", "--data.input_template", "--data.max_len", "--rollout.max_new_tokens",
    "--rollout.temperature", "--rollout.top_p",
    "--marge.explore", "--marge.guidance_source", "--marge.guide_when", "--marge.n_guidances", "--marge.split",
    "--marge.n_states", "--marge.max_states", "--marge.step_label", "--marge.state_budget", "--marge.guidance_rule",
    "--marge.guidance_threshold", "--marge.stop", "--marge.vanilla_match", "--marge.rescue_samples",
    "--marge.frontier_states", "--marge.frontier_samples", "--marge.frontier_hard", "--marge.frontier_easy",
    "--marge.frontier_gain", "--marge.frontier_probe", "--marge.vine_samples", "--marge.spo_branches",
    "--marge.spo_segment", "--marge.spo_edges", "--marge.spo_sure", "--marge.tree_chains", "--marge.tree_forks",
    "--marge.tree_branches", "--marge.tree_keep",
)  # fmt: skip
SAMPLES = "--rollout.n_samples_per_prompt"  # which only guided exploration is planned with another number of
NEITHER = ("spo_tree", "tree_rl")  # have numbers of their own


def check_pilot(pilot: Pilot, args: Any, vocab: int) -> None:
    """ValueError where the pilot is of another model, or of flags by which its tokens are others."""
    groups = [state for visit in pilot.first for state in (*visit.states, *visit.untrained)]
    if (largest := max(int(ids.max()) for s in groups for ids in (s.context, *s.completions))) >= vocab:
        raise ValueError(
            f"--pilot {pilot.name} has the token id {largest} and --actor.model_name_or_path {vocab} tokens, so it is "
            "of another model; give a pilot of this one"
        )
    longest = max(len(s.context) + max(s.lengths) for s in groups)
    if longest > args.data.max_len:
        raise ValueError(
            f"--pilot {pilot.name} has {longest} tokens of prompt and response, more than --data.max_len "
            f"{args.data.max_len}; give a pilot with this launch's flags"
        )
    config = method_of(args)
    if config is None:
        return
    has_s0 = all(state.prefix for visit in pilot.first for state in visit.states)
    wants_s0 = config.split == "step" and bool(config.cot_prefix)
    if has_s0 != wants_s0:
        raise ValueError(
            f"--pilot {pilot.name} was sampled {'with' if has_s0 else 'without'} --marge.cot_prefix, the launch is "
            f"{'with' if wants_s0 else 'without'} it; give a pilot with this launch's --marge.split"
        )
    check_flags(Path(pilot.name), args)


def check_prompt(pilot: Pilot, encode: Callable[[str], Sequence[int]]) -> None:
    """ValueError where the model's tokenizer makes other tokens of the pilot's first prompt, so of another model."""
    visit = pilot.first[0]
    if pilot.prompt and list(encode(pilot.prompt)) != visit.prompt.tolist():
        raise ValueError(
            f"--pilot {pilot.name} is of another model, whose first prompt {pilot.prompt[-40:]!r} the tokenizer of "
            "--actor.model_name_or_path encodes as other tokens; give a pilot of this model"
        )


def check_flags(folder: Path, args: Any) -> None:
    """ValueError naming a flag that differs, where settings.json or the run's summary.json tells the pilot's flags."""
    explored = explored_with(folder)
    told = explored or flag_values(find_summary(folder.parent).training_flags)
    if not told:
        return
    model = told.get("--actor.model_name_or_path", "")
    if Path(model).name != Path(args.actor.model_name_or_path).name:
        raise ValueError(
            f"--pilot {folder} is of --actor.model_name_or_path {model}, the launch of "
            f"{args.actor.model_name_or_path}; give a pilot of this model"
        )
    told = told if explored else _with_defaults(told)
    for flag in (*ALIKE, *([] if _adapts(args.marge) else [SAMPLES])):
        there, here = told.get(flag), _value(args, flag)
        # Of an exploration all flags are told, but those that are not set; of a run OpenRLHF's that were given.
        differs = bool(explored) and here not in (None, False) if there is None else not _same(there, here)
        if differs:
            raise ValueError(
                f"--pilot {folder} was sampled with {flag} {there}, the launch has {_text(here)}; give a pilot "
                "with this launch's flags"
            )


def _adapts(config: MargeConfig) -> bool:
    """Whether a pilot of another number of completions tells of the launch's."""
    return config.explore in NEITHER or (config.explore == "guided" and config.state_budget == "all")


def _with_defaults(told: Mapping[str, str]) -> dict[str, str]:
    """The flags that a run was given, over those of its preset, over MARGE's defaults."""
    decided = asdict(MargeConfig()) | PRESETS.get(told.get("--marge.preset", ""), {})
    return {f"--marge.{name}": _text(value) for name, value in decided.items() if value is not None} | told


def _value(args: Any, flag: str) -> Any:
    group, name = flag.removeprefix("--").split(".", 1)
    return getattr(getattr(args, group), name)


def _same(told: str, here: Any) -> bool:
    """A switch is told as ""."""
    if isinstance(here, bool):
        return here == (told in ("", "True"))
    if isinstance(here, float):
        return float(told) == here
    return told == ("" if here is None else _text(here))


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
