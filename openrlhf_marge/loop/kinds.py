"""The methods that the loop runs: how they explore, which rows they build, and which trainer reads those rows."""

from __future__ import annotations

from dataclasses import dataclass

DPO, SFT = "openrlhf.cli.train_dpo", "openrlhf.cli.train_sft"
# The rows hold prompts as the model saw them, so train_sft's own template must not be put around them.
DATA_FLAGS = {
    DPO: ("--data.prompt_key", "prompt", "--data.chosen_key", "chosen", "--data.rejected_key", "rejected"),
    SFT: ("--data.input_key", "prompt", "--data.output_key", "response", "--data.input_template", ""),
}
# The paper's settings (Sec. 4.1, App. B.1 and B.2).
PAPER_FLAGS = {
    DPO: ("--model.beta", "0.4", "--adam.lr", "5e-7", "--train.batch_size", "256", "--train.max_epochs", "4"),
    SFT: ("--adam.lr", "5e-6", "--train.batch_size", "128"),
}
VANILLA = ("--marge.explore", "vanilla")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Defaults; flags that the user gives come after them, and win."""

    pairs: str  # --kind of build_pairs
    trainer: str = DPO  # module of OpenRLHF
    explore_flags: tuple[str, ...] = ()
    pairs_flags: tuple[str, ...] = ()

    @property
    def train_flags(self) -> tuple[str, ...]:
        return PAPER_FLAGS[self.trainer]


KINDS = {
    "marge": Kind(pairs="marge"),
    # k = 4 completions from every step of an incorrect response (arXiv 2404.10346).
    "self_explore": Kind(
        pairs="self_explore",
        explore_flags=(
            *("--marge.guidance_rule", "incorrect", "--marge.guidance_source", "fresh"),
            *("--rollout.n_samples_per_prompt", "4"),
        ),
    ),
    "outcome": Kind(pairs="outcome", explore_flags=VANILLA),
    # One random correct response per problem (App. B.2).
    "sft": Kind(pairs="sft", trainer=SFT, explore_flags=VANILLA, pairs_flags=("--responses_per_state", "1")),
}
