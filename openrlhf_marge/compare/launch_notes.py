"""Sentences that are known before anything runs: what a budget does not change, and whose KL is another's."""

from __future__ import annotations

from collections.abc import Mapping

from openrlhf_marge.compare.commands import by_flags
from openrlhf_marge.compare.plan import Plan
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.method.presets import PRESETS
from openrlhf_marge.runs.folder import given

SCHEDULER = "cosine_with_min_lr"  # OpenRLHF's default
WHERE = {
    "iteration": "the policy of the iteration's start", "episode": "the policy of the episode's start",
    "initial": "the initial model",
}  # fmt: skip


def launch_notes(plan: Plan) -> list[str]:
    """Also under the tables."""
    return [*schedule_notes(plan), *kl_notes(plan)]


def schedule_notes(plan: Plan) -> list[str]:
    """Schedules of the learning rate that go by what the launch would train without a budget."""
    return [
        f"The learning rate of {', '.join(method.name for method in methods)} follows {name} over "
        "--train.num_episodes, wherever the budget ends it; --actor.lr_scheduler constant would not."
        for name, methods in by_flags(plan, lambda flags: flags.get("--actor.lr_scheduler", SCHEDULER)).items()
        if name != "constant"
    ]


def kl_notes(plan: Plan) -> list[str]:
    """A sentence where methods differ in it: what they differ in at the end may come of that alone."""
    found = by_flags(plan, _kl)
    if len(found) < 2:
        return []
    parts = [f"that of {', '.join(method.name for method in methods)} {kl}" for kl, methods in found.items()]
    return [
        f"The methods' KL is not the same, and may be what they differ by: {'; '.join(parts)}. --marge.reference, "
        "--algo.kl.use_loss and --algo.kl.estimator make it alike, --algo.kl.init_coef 0 takes it from all."
    ]


def _kl(flags: Mapping[str, str]) -> str:
    """The KL of a launch with these flags, which may be shortened, in words."""
    if float(given(flags, "--algo.kl.init_coef") or 0.01) == 0:
        return "is none"
    reference, estimator = "initial", given(flags, "--algo.kl.estimator") or "k1"
    if "--experience_maker" in flags:
        of_preset = PRESETS.get(given(flags, "--marge.preset") or "", {})
        reference = given(flags, "--marge.reference") or of_preset.get("reference", MargeConfig().reference)
    in_loss = reference == "iteration" or given(flags, "--algo.kl.use_loss") is not None
    if reference == "iteration" and estimator == "k1" and given(flags, "--algo.kl.unbiased_gradient") is None:
        estimator = "k3"  # as the launch sets it: k1 has no gradient on average
    return f"looks at {WHERE[reference]}, in the {'loss' if in_loss else 'reward'} ({estimator})"
