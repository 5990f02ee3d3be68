"""A table of the paper, whole, by a small stand-in for its backbone: every row trained and evaluated on the stack.

    python tests/benchmarks/paper_table.py --out DIR

The compare files are those that examples/scripts/paper_tables.py writes, with the rows of all backbones together and
hardware of one CPU; the model is the one of the embedded task, the data are 16 of its problems. What the scores are
says nothing: this shows that every row runs, and that a second start runs nothing again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"
ROOT = Path(__file__).parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "examples"), str(ROOT / "examples" / "scripts")]

import backbones
import paper_tables
from embedded_task import make_base_model

from openrlhf_marge.cli import compare
from openrlhf_marge.host.standalone.warm_start import warm_start
from openrlhf_marge.runs.cpu import cpu_environment

from cpu_hardware import CPU

NAME = "stand_in"
ALL_ROWS = ("SFT", "DPO", "PPO", "REINFORCE++", "GRPO", "StepDPO-HF", "MCTS-DPO", "MARGE-DPO")
EXPLORE = "--vllm.num_engines 1 --ds.param_dtype fp32"
TRAIN = "--ds.zero_stage 0 --ds.attn_implementation eager --train.micro_batch_size 2 --train.batch_size 2"


def make_stand_in(folder: Path) -> None:
    """Model and data in ``folder``, and the backbone among those that paper_tables.py knows."""
    make_base_model(folder / "base", 0)
    rows = [json.loads(line) for line in (folder / "base" / "train.jsonl").read_text().splitlines()[:16]]
    made = [{"problem": r["input"], "input": r["input"], "label": r["label"]} for r in rows]  # as it was trained
    for name, part in {"train": made, "heldout": made[:4]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    shutil.copytree(
        folder / "base" / "model", folder / "StepDPO-HF", dirs_exist_ok=True
    )  # found in the working folder
    small = "--rollout.batch_size 8 --rollout.n_samples_per_prompt 4 --train.batch_size 16 --actor.adam.lr 1e-4"
    backbones.PROBLEMS, backbones.EPISODES, paper_tables.EPISODES = 16, 2, 1
    backbones.BACKBONES[NAME] = replace(
        backbones.BACKBONES["qwen2_7b"], hardware=replace(CPU, explore=EXPLORE, train=TRAIN), max_len=160,
        shares_prefixes=False, response_tokens=60,
        of_all=tuple(small.split()), of_marge=("--marge.n_candidates", "4"),
    )  # fmt: skip
    paper_tables.ROWS = {**paper_tables.ROWS, NAME: ALL_ROWS}
    paper_tables.CHAINED = {**paper_tables.CHAINED, NAME: "REINFORCE++ on MARGE"}
    heldout = (str(folder / "heldout.jsonl"),)
    paper_tables.TABLE_1 = (heldout, heldout)
    os.environ |= {
        "MODEL": str(folder / "base" / "model"), "DATA": str(folder / "train.jsonl"), "HELDOUT": heldout[0],
    }  # fmt: skip


def written(arguments: list[str], changes: dict[str, str]) -> str:
    """What paper_tables.py prints, with fewer responses to evaluate by."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        paper_tables.main(arguments)
    text = said.getvalue()
    for old, new in changes.items():
        if old not in text:
            raise RuntimeError(f"the compare file has no {old!r} any more; mend this benchmark")
        text = text.replace(old, new)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the same folder goes on")
    folder = parser.parse_args().out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    make_stand_in(folder)
    os.chdir(folder)
    heldout = "--n 1 --k 1 --greedy_runs 0"
    table = {heldout: f"--input_key input {heldout}", "--greedy_runs 3": "--greedy_runs 1"}
    passes = {"--n 64 --k 64": "--n 4 --k 4", '["pass@64"]': '["pass@4"]'}
    Path("table.toml").write_text(written([NAME], table))
    Path("passes.toml").write_text(written([NAME, "--runs", str(folder / "runs")], passes))
    start = time.monotonic()
    with warm_start(cpu_environment()) as variables:
        os.environ |= variables
        for file, out in (("table.toml", "runs"), ("table.toml", "runs"), ("passes.toml", "passes")):
            if status := compare.main([file, "--out", str(folder / out)]):
                return status
            print(f"{file}: {time.monotonic() - start:.0f} s so far", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
