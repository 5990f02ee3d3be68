"""Writes the compare file of a backbone's part of Table 1 or 2 of the paper, by the settings in backbones.py.

    python examples/scripts/paper_tables.py qwen2_7b > table.toml               # trains every row, pass@1
    DATA=... HELDOUT=... MODEL=... python -m openrlhf_marge.cli.compare table.toml --out runs/qwen2_7b
    python examples/scripts/paper_tables.py qwen2_7b --runs runs/qwen2_7b > passes.toml   # the same models, pass@64
    MODEL=... python -m openrlhf_marge.cli.compare passes.toml --out runs/qwen2_7b_passes

Methods that sample from s_0 alone have the tokens of 10 episodes (Sec. 4.1), DPO a sixteenth of MARGE's (Table 3).
Published models are evaluated as the paper does, and with their owners' prompts; EURUS_SYSTEM names the file with that
of PRIME-EURUS-7B (evaluation/README.md).
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import launches
from backbones import BACKBONES, EPISODES, Backbone
from paper_rows import CHAINED, DPO_SAMPLES, DPO_SHARE, LOOPED, ROWS, TABLE_1, TABLE_2, TRAINED

from openrlhf_marge.evaluation.checkpoints import CHECKPOINTS

SEED = 42
QUOTES = "'''"
WIDTH = 115


def text(words: Sequence[str]) -> str:
    """Flags as a literal text of TOML, which compare splits as a shell would; no flag is cut from its values."""
    lines = [""]
    for flag in re.split(r" (?=--)", shlex.join(words)):
        if lines[-1] and len(lines[-1]) + len(flag) >= WIDTH:
            lines.append("")
        lines[-1] += f" {flag}" if lines[-1] else flag
    return "\n".join([QUOTES, *lines, QUOTES])


def entry(name: str, **values: str | float) -> str:
    """A method's table; flags stay as ``text`` made them."""
    lines = [f"\n[methods.{json.dumps(name)}]"]
    for key, value in values.items():
        is_toml = isinstance(value, float) or value.startswith(QUOTES)
        lines += [f"{key} = {value if is_toml else json.dumps(value)}"] * (value != "")
    return "\n".join(lines)


def published(name: str) -> list[str]:
    """The tables of a checkpoint, as the paper prompts it and as its owners do."""
    system = " --system_prompt $EURUS_SYSTEM" * (CHECKPOINTS[name].prompt == "eurus")
    return [entry(name, model=name), entry(f"{name}, own prompt", model=name, evaluate=f"--prompt own{system}")]


def chained(name: str, backbone: Backbone) -> str:
    """REINFORCE++ from MARGE's model, with as many tokens of its own as from the backbone."""
    share = round(1 + backbone.vanilla_tokens / backbone.marge_tokens, 4)
    flags = text(launches.method_flags(backbone, "reinforce_pp"))
    return entry(name, kind="reinforce++", share=share, starts_from="MARGE-RL", flags=flags)


def training(name: str, backbone: Backbone) -> str:
    """The table of a method that is trained."""
    vanilla_share = round(backbone.vanilla_tokens / backbone.marge_tokens, 4)
    if name in TRAINED:
        kind, method = TRAINED[name]
        share = {} if method == "marge" else {"share": vanilla_share}
        return entry(name, kind=kind, **share, flags=text(launches.method_flags(backbone, method)))
    kind, method = LOOPED[name]
    share = {"SFT": {"share": vanilla_share}, "DPO": {"share": DPO_SHARE}}.get(name, {})
    samples = ["--rollout.n_samples_per_prompt", DPO_SAMPLES] * (name == "DPO")
    train = {"train": shlex.join(launches.reference_flags(method))}
    return entry(
        name, kind=kind, **share, explore=shlex.join([*launches.split_of(backbone, method), *samples]), **train
    )


def head(backbone: Backbone, data: Sequence[str], how: str, metrics: str) -> list[str]:
    return [
        f"seeds = [{SEED}]",
        f"baseline = {json.dumps(backbone.title)}",
        "",
        "[evaluate]",
        f"data = {json.dumps(data)}",
        f'flags = "--prompt {backbone.prompt} {how} --max_len {backbone.max_len}"',
        f"metrics = {metrics}",
    ]


def trained_file(name: str, backbone: Backbone) -> str:
    """Every row trained or downloaded, and its pass@1."""
    data = (TABLE_2 if name == "qwen25_math_7b" else TABLE_1)[0]
    shared = launches.shared_flags(backbone, "$MODEL", "$DATA", "$grader")
    constant = [word for part in ("actor", "critic") for word in (f"--{part}.lr_scheduler", "constant")]
    top, *rest = head(backbone, data, "--n 0 --greedy_runs 3", '["greedy_pass@1"]')
    lines = [
        f"# Rows of {backbone.title} in Table {1 + (data == TABLE_2[0])} of the paper; {backbone.hardware.name}.",
        f"# MODEL={backbone.model}; DATA and HELDOUT as training_data.py --data {backbone.data} writes them.",
        f"# The budget is what MARGE generates in {EPISODES} episodes, candidates included, with responses of",
        f"# {backbone.response_tokens} tokens, which is assumed.",
        top,
        f"budget.tokens = {backbone.marge_tokens}",
        f"shared = {text([*shared, '--train.num_episodes', '100', *constant])}",
        *rest,
    ]
    rows = (*ROWS[name], "MARGE-RL")
    if set(rows) & set(LOOPED):
        explore = text(launches.problem_flags(backbone, "$DATA"))
        lines += ["", "[loop]", 'model = "$MODEL"', 'heldout = "$HELDOUT"', f"iterations = {EPISODES}"]
        lines += [f"explore = {explore}", f"train = {text(launches.train_flags(backbone))}"]
        lines += [f'evaluate = "{launches.heldout_flags(backbone)} --n 1 --k 1 --greedy_runs 0"']
    lines.append(entry(backbone.title, model="$MODEL"))
    for row in rows:
        lines += published(row) if row in CHECKPOINTS else [training(row, backbone)]
    lines += [chained(CHAINED[name], backbone)] if name in CHAINED else []
    return "\n".join(lines) + "\n"


def passes_file(name: str, backbone: Backbone, runs: Path) -> str:
    """The models of a comparison that was made in ``runs``, and their pass@64."""
    lines = [
        f"# pass@64 of the models in {runs}; MODEL={backbone.model}.",
        *head(backbone, TABLE_1[1], "--n 64 --k 64 --greedy_runs 0", '["pass@64"]'),
        entry(backbone.title, model="$MODEL"),
    ]
    for row in (*ROWS[name], "MARGE-RL", *([CHAINED[name]] if name in CHAINED else [])):
        lines += published(row) if row in CHECKPOINTS else [entry(row, run=f"{runs}/{row}/seed_{SEED}")]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", choices=ROWS)
    parser.add_argument("--runs", type=Path, metavar="DIR", help="write the file of pass@64 of the models in DIR")
    args = parser.parse_args(argv)
    backbone = BACKBONES[args.backbone]
    print(
        passes_file(args.backbone, backbone, args.runs) if args.runs else trained_file(args.backbone, backbone), end=""
    )


if __name__ == "__main__":
    main()
