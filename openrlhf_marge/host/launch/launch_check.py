"""Launches of train_ppo_ray, read by OpenRLHF's own parser before the first of them runs (``cli/compare.py``).

    python -m openrlhf_marge.host.launch.launch_check < LAUNCHES.json      # [[name, [flag, value, ...]], ...]

Exit status: 0, or 2 with a sentence that names the launch and what is wrong with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from openrlhf.cli.train_ppo_ray import parse_args

from openrlhf_marge.host.launch.dataset_checks import check_datasets
from openrlhf_marge.models import check_model


def check(flags: Sequence[str]) -> None:
    """ValueError for flags, data or a model that cannot work, or whose use a budget cannot count."""
    args = parsed(flags)
    if args.train.async_enable:
        raise ValueError("--train.async_enable does not work with a budget, which ends a run between two updates")
    check_datasets(args)
    if not args.actor.model_name_or_path:
        raise ValueError("--actor.model_name_or_path is not set; name the model to begin with")
    check_model(args.actor.model_name_or_path, args.data.max_len)


def parsed(flags: Sequence[str]) -> Any:
    """What OpenRLHF and the experience maker make of the flags; ValueError with their last line when they refuse."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            return parse_args(flags)
    except AttributeError as e:  # without a critic's model OpenRLHF looks for the reward's
        raise ValueError(
            f"OpenRLHF's parser ends with {e!r}; give what grades, --reward.remote_url or --reward.model_name_or_path"
        ) from e
    except (SystemExit, AssertionError) as e:
        text = said.getvalue() if isinstance(e, SystemExit) and isinstance(e.code, int) else str(e)
        raise ValueError((text.strip().splitlines() or [type(e).__name__])[-1]) from e


def main() -> int:
    for name, flags in json.load(sys.stdin):
        try:
            check(flags)
        except ValueError as e:
            print(f"{name}: {e}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
