"""tests/gpu/actors.py and whole_stack.py: what they do beside a GPU, and on the real stack all but what needs one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import torch
from safetensors.torch import save_file

from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups

from actor_checks import LOGGED, alike, all_finite, as_long, equal_calls, equal_values, near, trained
from actor_rows import QUICK, Material, make_material
from actor_runs import Ended, calls
from whole_stack import same_weights

GPU = Path(__file__).parent / "gpu"


def ended(name: str, out: Path = Path(), **series: list[float]) -> Ended:
    return Ended(name, out, 1.0, {f"train/{tag}": list(enumerate(values)) for tag, values in series.items()})


def test_calls_that_differ_are_named():
    stock = [[], ["torch.cuda.empty_cache", "torch.cuda.synchronize"]]  # one process has no GPU
    assert all(equal_calls(stock, [list(part) for part in stock]).values())
    held = equal_calls(stock, [stock[0], ["torch.cuda.empty_cache", "torch.distributed.barrier"]])
    assert list(held.values()) == [True, True, False, True]
    assert "call 1: ['torch.cuda.synchronize'] without, ['torch.distributed.barrier'] with patches" in list(held)[2]
    assert list(equal_calls(stock, [stock[0], stock[1][:1]]).values()) == [True, True, False, True]  # one is missing
    assert list(equal_calls(stock, stock[:1]).values()) == [False, True, True]  # an actor is missing
    assert list(equal_calls([[]], [[]]).values()) == [True, True, False]  # nothing was traced


def test_logged_values_are_compared():
    one, other = ended("shared", actor_grad_norm=[0.011, 0.3]), ended("every row", actor_grad_norm=[0.010, 0.1])
    runs = {"shared": one, "every row": other}
    sentence = "shared: the norm of the first gradient is 0.1 of that of every row away from it (at most 0.2)"
    assert alike(runs, "shared", "every row", 0.2) == {sentence: True}
    assert list(alike(runs, "shared", "every row", 0.05).values()) == [False]
    assert alike({"shared": one}, "shared", "every row", 0.05) == {}  # that one failed is said elsewhere
    assert all_finite(one) and not all_finite(ended("none")) and not all_finite(ended("nan", kl=[0.1, float("nan")]))
    assert trained(runs, "shared") == {"shared: norms of the gradients [0.011, 0.3]": True}
    assert list(trained({"a": ended("a", actor_grad_norm=[0.1, 0.0])}, "a").values()) == [False]
    assert list(trained({}, "a").values()) == [False]
    losses = {name: ended(name, policy_loss=[0.0] * n) for name, n in {"resumed": 2, "other": 3}.items()}
    assert as_long(losses, "resumed", "other") == {"resumed: 2 iterations in all, 3 of other": False}
    assert list(as_long(losses, "other", "other").values()) == [True]


def test_equal_values_are_equal_to_the_last_bit():
    values = {tag: [0.1, 0.2] for tag in LOGGED}
    runs = {"stock": ended("stock", **values), "patched": ended("patched", **values | {"kl": [0.1, 0.2 + 1e-12]})}
    assert list(equal_values(runs, "patched", "stock").values()) == [tag != "kl" for tag in LOGGED]


def test_weights_are_compared_with_how_far_they_moved(tmp_path):
    for name, value in {"start": 1.0, "one": 3.1, "two": 3.0, "still": 1.0}.items():
        (tmp_path / name / "model").mkdir(parents=True)
        save_file({"w": torch.full((4,), value)}, tmp_path / name / "model" / "model.safetensors")
    runs = {name: ended(name, tmp_path / name) for name in ("one", "two", "still")}
    material = Material(tmp_path / "start", QUICK)
    ((sentence, holds),) = near(runs, "one", "two", material).items()
    assert holds and sentence.startswith("one: weights are 0.05 of what two moved away from its own")
    assert list(near(runs, "still", "two", material).values()) == [False]
    assert list(near(runs, "still", "still", material).values()) == [False]  # nothing was trained


def test_material_is_what_its_shape_says(tmp_path):
    material = make_material(tmp_path / "made", QUICK)
    rollouts = [list(read_groups(path)) for path in dump_files(material.folder / "dump")]
    assert [len(groups) for groups in rollouts] == [4, 4, 4]
    assert sum(len(g.completions) for g in rollouts[0]) == QUICK.rows == 16
    first, second = rollouts[0][:2]
    assert len(first.state.prefix_ids) == 0 and len(second.state.prefix_ids) == 10
    assert all(18 <= len(c.token_ids) - 1 <= 22 for c in first.completions)  # the end's token not counted
    assert all(9 <= len(c.token_ids) - 1 <= 11 for c in second.completions)
    assert any(g.has_signal for groups in rollouts for g in groups)


TRACED = """
import sys, torch, torch.distributed
import openrlhf.trainer.ray.launcher
torch.cuda.empty_cache()
torch.cuda.is_available()
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
torch.distributed.all_reduce(torch.ones(2, 3))
torch.distributed.destroy_process_group()
"""


def test_an_actors_calls_are_written_down(tmp_path):
    path = os.pathsep.join([str(GPU / "stand_ins" / "tracer"), str(GPU.parents[1])])
    environment = os.environ | {"MARGE_TRACE": str(tmp_path), "PYTHONPATH": path, "DS_ACCELERATOR": "cpu"}
    subprocess.run([sys.executable, "-c", TRACED, str(tmp_path / "store")], env=environment, check=True, timeout=300)
    ((first, *rest),) = calls(tmp_path)
    assert first == "torch.cuda.empty_cache"
    assert rest == ["torch.distributed.init_process_group", "torch.distributed.all_reduce (2, 3) torch.float32 cpu"]


@pytest.mark.parametrize("script", ["actors.py", "whole_stack.py"])
def test_without_a_gpu_it_says_so(tmp_path, script):
    command = [sys.executable, GPU / script, "--out", tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.stdout == f"tests/gpu/{script}: skipped: torch sees no GPU here\n"


def test_weights_that_did_not_arrive_are_seen():
    ((sentence, holds),) = same_weights(ended("IPC", is_filter_ratio=[0.01, 0.02, 0.01])).items()
    assert holds and "in 3 iterations at most 0.020 of the tokens have log-probs of engine and" in sentence
    for shares in ([0.01, 0.9, 0.9], [0.01, 0.02]):  # the engine kept its first weights; an iteration is missing
        assert list(same_weights(ended("IPC", is_filter_ratio=shares)).values()) == [False]


def quick_results(script: str, folder: Path, environment: dict[str, str]) -> dict:
    """What a script wrote that ended well on a CPU."""
    command = [sys.executable, GPU / f"{script}.py", "--quick", "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return json.loads((folder / f"{script}.json").read_text())


@pytest.mark.stack
@pytest.mark.timeout(1500)
def test_the_whole_stack_with_engines(tmp_path, cluster):
    results = quick_results("whole_stack", tmp_path, cluster)
    assert len(results["gloo, apart"]["assertions"]) == 2
    ((found,),) = (results["gloo, apart"]["table"],)
    assert len(found["is_filter_ratio"]) == 3 and min(found["actor_grad_norm"]) > 0


@pytest.mark.stack
@pytest.mark.timeout(1500)
def test_all_but_what_needs_a_gpu(tmp_path, cluster):
    results = quick_results("actors", tmp_path, cluster)
    held = {**results["sharing"]["assertions"], **results["beside each other"]["assertions"]}
    assert len(held) == 9 and all(held.values()), held
    (every, shared) = results["sharing"]["table"]
    assert every[4:6] == [None, None] and shared[5] < shared[4]  # tokens and distinct ones
    assert "patches" not in results
