"""MARGE-DPO and its relatives: explore, build pairs, train on them with OpenRLHF, and again with the new policy.

    python -m openrlhf_marge.cli.marge_dpo --model MODEL --heldout HELDOUT.jsonl --out DIR --iterations 3 \\
        --explore "--data.prompt_dataset DATA --data.label_key label --data.apply_chat_template"

Kinds: marge (pairs of all states; MARGE-DPO), self_explore (pairs at the first wrong step), outcome (DPO on whole
responses), mcts_steps and mcts (steps of a tree search, alone and with a way on; MCTS-DPO) and sft (a correct response
per problem). An iteration is a folder of DIR: explore/ (a dump), pairs/, model/, heldout.json, logs. The policy that
explored is the reference of the training, the first model that of mcts_steps and mcts. The same command goes on where
it was stopped. The flags of a stage are one quoted string each, and come after the defaults of the kind, which are its
paper's. Exit status: 0, 1 when a stage fails, 2 for bad input, 143 when ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping
from typing import Any

from openrlhf_marge.cli.exits import exit_status
from openrlhf_marge.loop import run_loop
from openrlhf_marge.loop.flags import make_loop, parse_args
from openrlhf_marge.runs.cpu import environment
from openrlhf_marge.runs.processes import Bars, run_logged


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv, __doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that its stage is ended, too
    return exit_status("marge_dpo", lambda: described(run(args)))


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The loop's summary."""
    bars, there = Bars(), environment()
    return run_loop(make_loop(args), lambda command, log: run_logged(command, log, there, bars))


def described(summary: Mapping[str, Any]) -> str:
    """Scores, and where the best model is."""
    scores = [f"{s:.3f}" for s in (summary["before"]["pass@1"], *(i["pass@1"] for i in summary["iterations"]))]
    return (
        f"held-out pass@1 before and after each iteration: {', '.join(scores)}\n"
        f"best model: {summary['best_model']}; {summary['generated_tokens']} generated tokens"
    )


if __name__ == "__main__":
    sys.exit(main())
