"""The parts of a compare file: methods, their evaluation, what all loops have in common, what tuning tries."""

from __future__ import annotations

from dataclasses import dataclass

from openrlhf_marge.compare.kinds import LOOPED

STAGES = ("explore", "pairs", "train")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One of ``kind``, ``run`` (a finished run's folder) and ``model`` (evaluated as it is)."""

    name: str
    kind: str = ""
    run: str = ""
    model: str = ""
    share: float = 1.0  # of the budget
    flags: str = ""  # of train_ppo_ray
    like: str = ""  # another method, whose tokens and optimizer steps an update this one gets
    starts_from: str = ""  # another method, from whose trained model this one starts; its budget is that of both
    responses_of: str = ""  # another method, of which this one gets the responses per problem
    explore: str = ""  # these three of the loop's stages
    pairs: str = ""
    train: str = ""
    evaluate: str = ""  # of cli.evaluate, what of the prompt is the method's own

    @property
    def is_looped(self) -> bool:
        return self.kind in LOOPED


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """``data`` as --data of cli.evaluate; ``metrics`` by their names in its result, () for pass@1 and pass@k."""

    data: tuple[str, ...]
    flags: str = ""
    mark_flags: str | None = None  # of the evaluation at a mark; None: ``flags``
    metrics: tuple[str, ...] = ()

    def flags_at(self, mark: float | None) -> str:
        """Those of a mark, or of the end."""
        return self.flags if mark is None or self.mark_flags is None else self.mark_flags


@dataclass(frozen=True, kw_only=True)
class LoopFlags:
    """What all loops have in common: flags of cli.marge_dpo."""

    model: str
    heldout: str
    iterations: int = 3
    explore: str = ""
    pairs: str = ""
    train: str = ""
    evaluate: str = ""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What cli.tune tries: ``methods`` by name, each with lists of flags of which every combination is a trial."""

    seeds: tuple[int, ...]
    methods: dict[str, dict[str, tuple[str, ...]]]
    metric: str = "pass@1"
    share: float = 1.0  # of the budget
