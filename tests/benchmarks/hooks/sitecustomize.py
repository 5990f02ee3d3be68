"""Writes down which groups every step trains on, beside the run's checkpoints: what kills.py checks.

Python runs this file at its start when its folder is on PYTHONPATH.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
from collections import Counter

TRAINER = "openrlhf_marge.host.training.keeps_records"


class Hook(importlib.abc.MetaPathFinder):
    """Changes the trainer's module once it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != TRAINER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            write_down(module.KeepsRecords)

        spec.loader.exec_module = exec_module
        return spec


def write_down(trainer):
    train_step = trainer.train_step

    def traced(self, rollout_samples, global_step):
        groups = Counter(int(sample.info["group_id"]) for sample in rollout_samples)
        line = json.dumps({"step": global_step + 1, "groups": list(groups.items())}) + "\n"
        with open(os.path.join(os.path.dirname(self.args.ckpt.path), "trained.jsonl"), "a") as file:
            file.write(line)
        return train_step(self, rollout_samples, global_step)

    trainer.train_step = traced


sys.meta_path.insert(0, Hook())
