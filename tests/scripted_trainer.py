"""The trainer of a run with faults: OpenRLHF's part is scripted, records and checkpoints are the real ones."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from openrlhf.trainer.ppo_trainer import BasePPOTrainer

from openrlhf_marge.host.rollout.experiences import GROUP_ID
from openrlhf_marge.host.rollout.records import RecordingLoader, RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.training.keeps_records import KeepsRecords

from faults import DAY, Chaos, Killed

KEPT = 2  # checkpoints


class ScriptedHost(BasePPOTrainer):
    """The host's part of a trainer: its weights are the list of what it trained on, and rotate as DeepSpeed's do."""

    def __init__(self, args: Any, chaos: Chaos) -> None:
        self.args, self._chaos, self.weights = args, chaos, []
        self.experience_maker = SimpleNamespace(step=0, has_signal=True)
        self.actor_model_group = None
        self._planned_steps = 0

    def train_step(self, rollout_samples: list, global_step: int) -> tuple[dict[str, Any], int]:
        match self._chaos.strikes("train"):
            case "killed while training":
                raise Killed
            case "object store is full in training":
                raise MemoryError("Failed to put object in object store because it is full.")
            case "clock jumps":
                self._chaos.offset += self._chaos.rng.choice((-1, 1)) * DAY
        trained = [
            (int(s.info[GROUP_ID]), tuple(s.sequences[0].tolist()), float(s.rewards[0])) for s in rollout_samples
        ]
        self.weights = [*self.weights, trained]
        return {}, global_step + 1

    def save_logs_and_checkpoints(self, global_step: int, logs_dict=None, client_states=None) -> None:
        folder = Path(self.args.ckpt.path) / "_actor"
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(folder.glob("global_step*"), key=lambda path: path.stat().st_mtime)
        for path in there[: max(0, len(there) - KEPT + 1)]:
            shutil.rmtree(path)
        tag = folder / f"global_step{global_step}"
        tag.mkdir(exist_ok=True)
        os.utime(tag, (time.time() + self._chaos.offset,) * 2)  # what the rotation goes by
        content = pickle.dumps((self.weights, client_states))
        if self._chaos.strikes("weights"):
            (tag / "weights").write_bytes(content[: len(content) // 2])
            raise Killed
        (tag / "weights").write_bytes(content)
        (folder / "latest").write_text(tag.name)
        if self._chaos.strikes("commit"):
            raise Killed

    def init_checkpoint_states(self) -> dict[str, Any]:
        folder = Path(self.args.ckpt.path) / "_actor"
        if not self.args.ckpt.load_enable:
            return {"episode": 0, "global_step": 0, "data_loader_state_dict": {}}
        tag = (folder / "latest").read_text()
        self.weights, states = pickle.loads((folder / tag / "weights").read_bytes())
        return states


class Trainer(KeepsRecords, ScriptedHost):
    """The records' own code on the scripted host."""

    def __init__(self, args: Any, chaos: Chaos, generator: GuidedSamplesGenerator, loader: Any) -> None:
        super().__init__(args, chaos)
        self.samples_generator = generator
        self._recorded_pool = generator.pool
        self.prompts_dataloader = RecordingLoader(loader, generator.take_record)

    def _restore(self, record: RolloutRecord) -> None:
        self.samples_generator.restore(record, self._trained_steps)

    def _taken_steps(self) -> int:
        return 0

    def _seed_actors(self, global_step: int) -> None:
        pass

    def _commit(self, tag: str, step: int) -> None:
        super()._commit(tag, step)
        fault = self._chaos.strikes("committed")
        if fault == "torn checkpoint":
            path = self._store.state_file(step)
            path.write_bytes(path.read_bytes()[: self._chaos.rng.randrange(path.stat().st_size)])
        if fault:
            raise Killed

    def work(self, episodes: int, generate_kwargs: dict[str, Any]) -> None:
        """In the order of the host's loop."""
        states = self.init_checkpoint_states()
        step = states["global_step"]
        if step:
            self.prompts_dataloader.load_state_dict(states["data_loader_state_dict"])
        for episode in range(states["episode"], episodes):
            exhausted = False
            while not exhausted:
                samples, _, _, exhausted = self.samples_generator.generate_samples(**generate_kwargs)
                if samples:
                    _, step = self.train_step(samples, step)
                    loader = self.prompts_dataloader.state_dict()
                    states = {"episode": episode, "global_step": step, "data_loader_state_dict": loader}
                    self.save_logs_and_checkpoints(step, {}, states)
