"""The data and the flags of the runs into which faults are put."""

from __future__ import annotations

import json
from pathlib import Path

from openrlhf.cli.train_ppo_ray import parse_args

from openrlhf_marge.arithmetic.model import build_tokenizer

from faulty_run import Setting
from scripted_trainer import KEPT

EPISODES = 3


def setting_of(folder: Path, problems: int = 8) -> Setting:
    """Problems in rollouts of four, guided by the paper's rule; every step is saved."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder / "model")
    rows = [(f"What is {i}+1?", str(i + 1)) for i in range(problems)]
    data = folder / "train.jsonl"
    data.write_text("".join(json.dumps({"input": p, "label": label}) + "\n" for p, label in rows))
    (folder / "reward.py").write_text("def reward_func(queries, prompts, labels): return {'rewards': [0.0]}\n")
    flags = f"""--experience_maker marge --actor.model_name_or_path {folder}/model --data.prompt_dataset {data}
        --data.input_key input --data.label_key label --reward.remote_url {folder}/reward.py --vllm.num_engines 3
        --vllm.sync_backend gloo --actor.num_gpus_per_node 1 --rollout.batch_size 4 --rollout.n_samples_per_prompt 4
        --train.batch_size 16 --rollout.micro_batch_size 1 --marge.split tokens --marge.n_states 3
        --marge.n_candidates 6 --train.full_determinism_enable --ckpt.save_steps 1 --ckpt.max_num {KEPT}
        --train.num_episodes {EPISODES} --ckpt.path {folder}/checkpoints --data.max_len 64
        --rollout.max_new_tokens 16"""
    return Setting(parse_args(flags.split()), tokenizer, rows, EPISODES)
