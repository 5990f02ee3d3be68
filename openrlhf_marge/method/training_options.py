"""Options of what follows exploration: rewards, advantages, what is trained on, what is kept; and the presets."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.method.advantages import ADVANTAGES
from openrlhf_marge.method.flags import option
from openrlhf_marge.method.presets import PRESETS
from openrlhf_marge.rewards.domains import MATH, REWARDS


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Fields of ``MargeConfig``."""

    advantage: str = option(
        "group_norm",
        "advantage within a state's group: 'group_norm' (r - mean) / std (Eq. 4), 'mean' r - mean (Dr. GRPO), "
        "'leave_one_out' r - mean of the others (RLOO), or 'vine': r - mean for a completion, and for the guidance "
        "tokens between two states the difference of their values (VinePPO)",
        choices=ADVANTAGES,
    )
    prefix_credit: str = option(
        "none",
        "'value_gain': with any --marge.advantage, also train the guidance tokens between two states on the "
        "difference of their values, as vine does",
        choices=("none", "value_gain"),
    )
    reference: str = option(
        "iteration",
        "reference policy of the KL: 'iteration', the policy at the start of the iteration (Sec. 3.4; needs no "
        "reference model, KL in the loss), 'episode', at the start of the episode, or 'initial', OpenRLHF's",
        choices=("iteration", "episode", "initial"),
    )
    reward: str = option(
        MATH,
        "what grades the responses: 'math', the package's grader of final answers, 'countdown', expressions that must "
        "reach a target, or an installed reward's name (entry-point group openrlhf_marge.rewards)",
        choices=REWARDS,
        listed=False,
    )
    guidance_key: str | None = option(
        None, "data column with a response to be the first guidance, for example the authors' 'guidance hit'"
    )
    skip_saturated: bool = option(
        False,
        "leave groups whose completions all have the same reward out of the training batches, where they would bring "
        "the gradient of the KL term alone; the learning rate moves on as if they had been trained on",
    )
    max_age: int | None = option(
        None,
        "leave groups out of the training batches whose age is above this many weight updates (0: train only on what "
        "the present policy sampled); the age of a group is the number of updates that the policy it is to train has "
        "made since the first token of its oldest trained completion, so groups that wait for a whole batch, rollouts "
        "of --train.async_enable and completions of partial rollouts age; the learning rate moves on as with "
        "--marge.skip_saturated; None: groups of any age are trained on",
        low=0,
    )
    explorers: int = option(
        1,
        "processes that explore, each a part of a rollout's problems on a part of the engines; 1: the one that "
        "generates. One process can feed some dozen engines; with --train.full_determinism_enable the explorations "
        "are the same for any number",
        low=1,
    )
    share_prefix: bool = option(
        False,
        "compute tokens that completions have in common (prompt, guidance) once in the policy's and the reference's "
        "passes; micro-batches of --train.dynamic_batch_enable then count distinct tokens",
    )
    dump_dir: str | None = option(None, "folder for every trained completion, one Parquet file per rollout")
    replay_dir: str | None = option(None, "train from the Parquet files of this folder, nothing is generated")

    preset: str | None = option(
        None,
        "sets other flags by name, each of which may be given besides: 'paper', the defaults, or 'frontier', from s_0 "
        "and the states whose success is about even",
        choices=PRESETS,
    )
