"""A run on scripted engines, graders, trainers and disks in virtual time, into which faults are put.

Real are the generator with its sampler, explorer, queue, dump and records, and the trainer's records and checkpoints.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import shutil
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from openrlhf.trainer.ppo_trainer import BasePPOTrainer
from torchdata.stateful_dataloader import StatefulDataLoader

import openrlhf_marge.data.dump as dump_module
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.host.rollout import explorations, samples_generator
from openrlhf_marge.host.rollout.experiences import GROUP_ID
from openrlhf_marge.host.rollout.records import RecordingLoader, RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.training.trainer import KeepsRecords
from openrlhf_marge.runs.checkpoints import CheckpointStore, repair

from faults import DAY, Chaos, Engine, Grader, Killed, reward_of
from virtual_time import run as run_virtually

ENGINES, KEPT, LIMIT = 3, 2, 120  # LIMIT: virtual seconds from a fault to the end of the run that it ends


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


class Prompts(list):
    """The rows as OpenRLHF's data set gives them."""

    collate_fn = staticmethod(lambda rows: tuple(zip(*rows, strict=True)))


@dataclass(frozen=True)
class Setting:
    """A run's data and flags; ``args`` are those of the real command line."""

    args: Any
    tokenizer: Any
    rows: list[tuple[str, str]]  # prompt, label
    episodes: int

    def live(self, out: Path, chaos: Chaos) -> None:
        """One life of the run's processes, from a start to the end of the run or of the life."""
        args = self.args
        args.ckpt.path, args.ckpt.load_enable = str(out / "checkpoints"), True
        args.ckpt.load_enable = (out / "checkpoints" / "_actor").is_dir() and repair(args.ckpt.path) is not None
        args.marge = type(args.marge)(**{**vars(args.marge), "dump_dir": str(out / "dump")})
        torch.manual_seed(args.train.seed)
        data = Prompts([("source", prompt, label, None) for prompt, label in self.rows])
        loader = StatefulDataLoader(data, batch_size=1, shuffle=True, collate_fn=data.collate_fn)
        engines = [Engine(chaos, self.tokenizer.eos_token_id, len(self.tokenizer)) for _ in range(ENGINES)]
        generator = GuidedSamplesGenerator(SimpleNamespace(args=args), loader, None, self.tokenizer, engines)
        generator.reward_client._fetch = Grader(chaos).fetch
        generator.weight_version = version_0
        kwargs = {"max_len": 64, "max_new_tokens": 16, "temperature": 1.0, "top_p": 1.0}
        trainer = Trainer(args, chaos, generator, loader)
        try:
            trainer.work(self.episodes, kwargs)
            generator._dump.wait()
        finally:
            generator._dump._pool.shutdown()  # of a killed process no thread goes on


async def version_0() -> int:
    return 0


@contextmanager
def scripted(chaos: Chaos):
    """Virtual time, a disk that may be full, and a clock that may jump, for everything in this process."""
    started: list[float] = []

    async def timed(work):
        loop = asyncio.get_running_loop()
        try:
            return await work
        finally:
            if chaos.since is not None:
                started.append(loop.time() - chaos.since)
                chaos.since = None

    write_table, write_state, clock = dump_module.pq.write_table, CheckpointStore.write_state, time.time

    def broken_write(place, write):
        def wrapped(*args, **kwargs):
            fault = chaos.strikes(place)
            if fault and place == "dump":
                Path(args[1]).write_bytes(b"PAR1 half a file")
            if fault:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if "disk" in fault else Killed
            return write(*args, **kwargs)

        return wrapped

    dump_module.pq = SimpleNamespace(**{**vars(dump_module.pq), "write_table": broken_write("dump", write_table)})
    CheckpointStore.write_state = broken_write("state", write_state)
    samples_generator.asyncio = SimpleNamespace(run=lambda work: run_virtually(timed(work)))
    time.time = lambda: clock() + chaos.offset
    bar, explorations.tqdm = explorations.tqdm, lambda **_: SimpleBar()
    try:
        yield started
    finally:
        import pyarrow.parquet

        dump_module.pq, CheckpointStore.write_state = pyarrow.parquet, write_state
        samples_generator.asyncio, time.time, explorations.tqdm = asyncio, clock, bar


class SimpleBar:
    """A progress bar that shows nothing."""

    def __enter__(self) -> SimpleBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self) -> None:
        pass


def survive(setting: Setting, out: Path, chaos: Chaos) -> list[float]:
    """Live until the run has ended by itself; virtual seconds from each fault to the end that it brought.

    AssertionError for a fault that a life did not end with, an end that no fault explains, and one that took too long.
    """
    with scripted(chaos) as ended_after:
        while True:
            chaos.arm()
            chaos.must_end = None
            try:
                setting.live(out, chaos)
            except (Killed, RuntimeError, MemoryError, OSError) as e:
                assert chaos.must_end, f"a life ended without a fault: {e!r}"
            except ValueError as e:
                obey(str(e))
            else:
                assert not chaos.must_end, f"a life went on after {chaos.must_end!r}"
                break
    assert max(ended_after, default=0.0) <= LIMIT, max(ended_after)
    return ended_after


def obey(said: str) -> None:
    """Do what the sentence about a torn checkpoint says; AssertionError for any other sentence."""
    _, found, rest = said.partition(" is torn or was changed; remove ")
    assert found, said
    shutil.rmtree(rest.partition(", and the run goes on from ")[0])


def outcome(out: Path) -> tuple[Any, ...]:
    """What the last weights were trained on, the last record, and the groups of every file of the dump."""
    store = CheckpointStore(out / "checkpoints" / "_marge")
    tag, step = list(store.complete().items())[-1]
    weights, _ = pickle.loads((out / "checkpoints" / "_actor" / tag / "weights").read_bytes())
    dump = {path.name: list(read_groups(path)) for path in sorted((out / "dump").glob("*.parquet"))}
    return weights, store.read_state(step, RolloutRecord), dump


def check_whole(setting: Setting, out: Path) -> None:
    """What must hold of a run that nothing disturbed; one that equals it has it, too."""
    weights, record, dump = outcome(out)
    n, tokenizer = setting.args.rollout.n_samples_per_prompt, setting.tokenizer
    groups = [group for name, of_file in dump.items() if name.startswith("rollout") for group in of_file]
    assert {len(group.completions) for group in groups} == {n}
    trained = Counter(group_id for step in weights for group_id, _, _ in step)
    waiting = Counter({group.id: n for group in record.waiting})
    assert trained + waiting == Counter({group.id: n for group in groups}) and not trained.keys() & waiting.keys()
    assert set(record.pool.visits.values()) == {setting.episodes} and len(record.pool.visits) == len(setting.rows)
    for group in groups:
        for c in group.completions:
            text = tokenizer.decode([*group.state.prefix_ids, *c.token_ids], skip_special_tokens=False)
            assert c.reward == reward_of(group.problem.prompt + text)
