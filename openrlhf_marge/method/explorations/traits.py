"""What a strategy says of itself; flags, engines and the learning-rate schedule go by it, not by names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from openrlhf_marge.entry_points import function_of

if TYPE_CHECKING:
    from openrlhf_marge.method.config import MargeConfig

S = TypeVar("S", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Facts of a strategy, which carries them where it is decorated: ``@Traits(weighs_tokens=True)``."""

    weighs_tokens: bool = False
    """Its completions bring an advantage for every token, so flags that choose advantages or states are refused."""

    reads_log_probs: bool = False
    """It reads the log-probs of sampled tokens, which every engine then returns."""

    for_pairs: bool = False
    """It looks for preference pairs and gives no advantages, so training with rewards refuses it."""

    asks_the_model: Callable[[MargeConfig], bool] = lambda config: False
    """Whether it has the model judge solutions (``visit.judged``) under these options."""

    states: Callable[[MargeConfig], float] | None = None
    """States of a problem that the learning-rate schedule counts on; None where it cannot know them."""

    def __call__(self, strategy: S) -> S:
        """The same strategy, which carries these traits from here on."""
        strategy.traits = self  # type: ignore[attr-defined]
        return strategy


def traits_of(strategy: Callable[..., Any]) -> Traits:
    """What a strategy carries; of a plain function nothing is known."""
    return getattr(strategy, "traits", PLAIN)


def check_strategy(named: str, loaded: Any) -> Any:
    """An installed strategy; ValueError beginning with ``named`` where it cannot be called, or has other traits."""
    function_of("(visit) -> exploration")(named, loaded)
    if not isinstance(traits_of(loaded), Traits):
        raise ValueError(f"{named} has traits that are no Traits; decorate it with @Traits(...)")
    return loaded


PLAIN = Traits()
