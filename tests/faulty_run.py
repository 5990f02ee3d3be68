"""A run on scripted engines, graders, trainers and disks in virtual time, into which faults are put.

Real are the generator with its sampler, explorer, queue, dump and records, and the trainer's records and checkpoints.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

import openrlhf_marge.data.dump as dump_module
from openrlhf_marge.host.rollout import explorations, samples_generator
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.runs.checkpoints import CheckpointStore, repair

from faults import Chaos, Engine, Grader, Killed
from scripted_trainer import Trainer
from virtual_time import run as run_virtually

ENGINES, LIMIT = 3, 120  # LIMIT: virtual seconds from a fault to the end of the run that it ends


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
