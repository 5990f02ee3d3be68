"""A run on scripted engines, graders, trainers and disks in virtual time, into which faults are put.

Real are the generator with its sampler, explorer, queue, dump and records, and the trainer's records and checkpoints.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import random
import shutil
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from openrlhf.trainer.ppo_trainer import BasePPOTrainer
from torchdata.stateful_dataloader import StatefulDataLoader

import openrlhf_marge.data.dump as dump_module
from openrlhf_marge.host.rollout import explorations, samples_generator
from openrlhf_marge.host.rollout.experiences import GROUP_ID
from openrlhf_marge.host.rollout.records import RecordingLoader, RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.training.trainer import KeepsRecords
from openrlhf_marge.runs.checkpoints import CheckpointStore, repair

from virtual_time import run as run_virtually

ENGINES, KEPT, LIMIT = 3, 2, 120  # LIMIT: virtual seconds from a fault to the end of the run that it ends
DAY = 86_400.0


class Killed(BaseException):
    """As SIGKILL: nothing that comes after it in the process is done."""


# Fault -> where it strikes, and whether the run that it strikes goes on.
FAULTS = {
    "engine dies": ("engine", False),
    "engine hangs": ("engine", False),
    "engine gives up": ("engine", False),
    "engine answers late": ("engine", True),
    "engine answers twice": ("engine", False),
    "engine answers too little": ("engine", False),
    "object store is full": ("engine", False),
    "object store is full in training": ("train", False),
    "grader returns nonsense": ("grader", False),
    "grader restarts": ("grader", True),
    "grader stays away": ("grader", False),
    "clock jumps": ("train", True),
    "disk is full while dumping": ("dump", False),
    "disk is full while saving": ("state", False),
    "killed while generating": ("engine", False),
    "killed while grading": ("grader", False),
    "killed while dumping": ("dump", False),
    "killed while training": ("train", False),
    "killed while saving the state": ("state", False),
    "killed while saving weights": ("weights", False),
    "killed before the commit": ("commit", False),
    "killed after the commit": ("committed", False),
    "torn checkpoint": ("committed", False),
}
CALLS = {"engine": 40, "grader": 120}  # within which of so many calls a fault strikes; elsewhere within 3
NONSENSE = (
    *(None, {}, [], "0", {"rewards": None}, {"rewards": "x"}, {"rewards": float("nan")}, {"rewards": 7}),
    *({"rewards": [1.0, 0.0]}, {"rewards": -1}, {"rewards": 1, "scores": 2}, {"rewards": 1, "extra_logs": 3}),
    {"rewards": 1, "extra_logs": {"a": float("inf")}},
)


@dataclass
class Chaos:
    """One fault at a time; ``struck`` counts them."""

    rng: random.Random
    armed: str | None = None
    calls: int = 0
    left: int = 0  # faults still to come
    struck: list[str] = field(default_factory=list)
    must_end: str | None = None  # a fault of this life that it may not survive
    since: float | None = None  # virtual time at which a fault struck that must end the run
    offset: float = 0.0  # of the clock on the wall

    def arm(self) -> None:
        """Choose the next fault, where one is left."""
        if self.armed is not None or not self.left:
            return
        self.left -= 1
        self.armed = self.rng.choice(sorted(FAULTS))
        self.calls = self.rng.randint(1, CALLS.get(FAULTS[self.armed][0], 3))

    def strikes(self, place: str) -> str | None:
        """The fault that strikes in this call, if any."""
        if self.armed is None or FAULTS[self.armed][0] != place:
            return None
        self.calls -= 1
        if self.calls:
            return None
        fault, self.armed = self.armed, None
        self.struck.append(fault)
        if FAULTS[fault][1]:
            self.arm()  # the run goes on
        else:
            self.must_end = fault
        return fault


class Engine:
    """An actor whose answers depend on the prompt and the seed alone; their lengths have a heavy tail."""

    def __init__(self, chaos: Chaos, eos: int, vocabulary: int) -> None:
        self._chaos, self._eos, self._vocabulary = chaos, eos, vocabulary
        self._busy, self._hangs = 0, False
        self.generate = SimpleNamespace(remote=self._generate)
        self.reset_prefix_cache = SimpleNamespace(remote=self._reset)

    async def _reset(self) -> None:
        await asyncio.sleep(1e12 if self._hangs else 0.1)

    async def _generate(self, ids: list[int], params: Any) -> Any:
        fault = self._chaos.strikes("engine")
        rng = random.Random(f"{ids} {params.seed}")
        outputs = [self._output(rng, params.max_tokens) for _ in range(params.n)]
        self._busy += 1
        late = 3000.0 if fault == "engine answers late" else 0.0
        if fault and not late:
            self._chaos.since = asyncio.get_running_loop().time()
        self._hangs = self._hangs or fault == "engine hangs"
        slow = 0.02 * max(len(o.token_ids) for o in outputs) * (1 + self._chaos.rng.random()) * self._busy
        await asyncio.sleep(1e12 if self._hangs else late + slow)
        self._busy -= 1
        match fault:
            case "engine dies":
                raise ConnectionError("The actor died unexpectedly before finishing this task.")
            case "object store is full":
                raise MemoryError("Failed to put object in object store because it is full.")
            case "killed while generating":
                raise Killed
            case "engine gives up":
                outputs[-1].finish_reason = "abort"
            case "engine answers twice":
                outputs = [*outputs, *outputs]
            case "engine answers too little":
                outputs = outputs[:-1]
        return SimpleNamespace(outputs=outputs, num_cached_tokens=0)

    def _output(self, rng: random.Random, most: int) -> Any:
        length = min(most, 1 + int(rng.paretovariate(1.2)))
        ids = [rng.randrange(4, self._vocabulary) for _ in range(length)]
        ended = length < most
        ids[-1] = self._eos if ended else ids[-1]
        return SimpleNamespace(
            token_ids=ids, finish_reason="stop" if ended else "length", stop_reason=None, logprobs=None
        )


def reward_of(query: str) -> float:
    return float(sum(map(ord, query)) % 2)


class Grader:
    """What the reward client's requests get, in place of a server."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos

    async def fetch(self, queries: list[str], prompts: list[str], labels: list[str]) -> list[Any]:
        fault = self._chaos.strikes("grader")
        await asyncio.sleep(0.01 * (1 + self._chaos.rng.random()))
        if fault and not FAULTS[fault][1]:
            self._chaos.since = asyncio.get_running_loop().time()
        match fault:
            case "grader restarts":
                await asyncio.sleep(self._chaos.rng.uniform(0.5, 4))
            case "grader stays away":
                await asyncio.sleep(5)
                raise RuntimeError("Request error for 5 times, returning None. Please check the API server.")
            case "grader returns nonsense":
                return [self._chaos.rng.choice(NONSENSE)]
            case "killed while grading":
                raise Killed
        return [{"rewards": reward_of(query), "extra_logs": {"graded": 1.0}} for query in queries]


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
        self.samples_generator.restore(record)

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
    dump = {path.name: list(dump_module.read_groups(path)) for path in sorted((out / "dump").glob("*.parquet"))}
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
