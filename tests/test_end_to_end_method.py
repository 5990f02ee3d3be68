"""The method's choices on the real stack, several in one run; what each does is tested on the core."""

import json
import os
import re
import signal
import time
from collections import Counter

import psutil
import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.arithmetic.model import build_tokenizer
from openrlhf_marge.cli import export_guidance
from openrlhf_marge.data.dump import dump_files
from openrlhf_marge.data.dump_reading import read_groups

from stack import launch, make_task, train

TOKENS = "--experience_maker marge --marge.n_candidates 16 --marge.split tokens --marge.n_states 3 "
ZERO_3 = "--ds.zero_stage 3 --actor.num_gpus_per_node 2 --ref.num_gpus_per_node 2"
STEPS = "--experience_maker marge --marge.n_candidates 16 "


def groups_of(folder):
    return [list(read_groups(path)) for path in dump_files(folder)]


def test_fresh_random_guidance_in_twos_with_an_adaptive_budget_and_replay_of_its_dump(task, tmp_path, cluster):
    method = "--marge.guidance_source fresh --marge.guidance_rule random --marge.n_guidances 2 --marge.max_states 3 "
    method += "--marge.state_budget adaptive --marge.advantage leave_one_out "
    run = train(task, tmp_path / "run", f"{STEPS}{method} --marge.dump_dir {tmp_path}/dump", cluster)
    assert run.values("marge/candidate_tokens") == [0.0, 0.0] and run.values("marge/guidance_age") == [0.0, 0.0]
    rollouts = groups_of(tmp_path / "dump")
    states = [g for groups in rollouts for g in groups]
    assert max(g.n_states for g in states) > 3  # of two guidances
    assert {len(g.completions) for g in states} > {2, 4}
    # The same completions again, without any engine.
    replay = f"--experience_maker marge --vllm.num_engines 0 --marge.replay_dir {tmp_path}/dump"
    again = train(task, tmp_path / "replay", replay, cluster)
    assert "RolloutRayActor" not in again.log
    assert again.values("rollout/num_samples") == run.values("rollout/num_samples")
    assert again.values("rollout/reward_mean") == pytest.approx(run.values("rollout/reward_mean"))


def test_vine_with_the_reference_of_the_episode_under_zero_3_on_two_ranks(task, tmp_path, cluster):
    method = "--marge.guidance_rule correct --marge.advantage vine --marge.reference episode --train.num_episodes 2 "
    flags = "--rollout.batch_size 16 --train.batch_size 64 --rollout.micro_batch_size 16 --algo.kl.use_loss "
    run = train(task, tmp_path, f"{TOKENS}{method}{flags} {ZERO_3} --algo.kl.estimator k3", cluster)
    assert "ReferenceModelActor" in run.log
    kl = run.values("kl")
    # Policy and reference are one at the start of each episode, though the weights have moved by the second.
    assert kl == pytest.approx([0.0, 0.0], abs=2e-3)
    assert (tmp_path / "checkpoints" / "_marge" / "reference_1" / "model.norm.weight.safetensors").is_file()


def test_vanilla_exploration_with_tokens_matched_and_a_stop_text(task, tmp_path, cluster):
    method = "--marge.explore vanilla --marge.vanilla_match tokens --marge.advantage mean --marge.stop 7 "
    run = train(task, tmp_path, f"{TOKENS}{method} --marge.dump_dir {tmp_path}/dump", cluster)
    groups = [g for rollout in groups_of(tmp_path / "dump") for g in rollout]
    assert {g.state.prefix_ids for g in groups} == {()}
    # 4, and what of 4 whole responses lies after the cuts at one and two thirds, rounded down to a token: of one token
    # of guidance none, of two half, of more one or a little above.
    assert {len(g.completions) for g in groups} <= {4, 4 + 2, 4 + 4, 4 + 5}
    assert run.values("marge/states_per_problem") == [1.0, 1.0]
    completions = [(build_tokenizer().decode(c.token_ids), c.truncated) for g in groups for c in g.completions]
    assert not any("7" in text.removesuffix("7") for text, _ in completions)
    assert {truncated for text, truncated in completions if text.endswith("7")} == {False}


@pytest.mark.parametrize("method", ["vineppo", "spo_tree", "tree_rl"])
def test_methods_that_weigh_tokens_train_on_what_they_dumped(task, tmp_path, cluster, method):
    own = {
        "vineppo": "--marge.vine_samples 3",
        "spo_tree": "--marge.spo_branches 4 2 --marge.spo_segment 6 --marge.spo_sure 1 --marge.expected_states 2",
        "tree_rl": "--marge.tree_chains 3 --marge.tree_keep 8 --marge.expected_states 2",
    }[method]
    flags = f"{TOKENS}--marge.explore {method} {own} --marge.dump_dir {tmp_path}/dump --marge.share_prefix"
    run = train(task, tmp_path, flags, cluster)
    groups = [g for rollout in groups_of(tmp_path / "dump") for g in rollout]
    completions = [c for g in groups for c in g.completions]
    assert all(c.advantages is not None for c in completions) and any(g.has_signal for g in groups)
    waiting = run.values("marge/completions_waiting")[-1]
    assert sum(run.values("rollout/num_samples")) + waiting == sum(len(g.trained) for g in groups) > 0
    probes = sum(run.values("marge/probe_tokens"))
    assert (probes > 0) == (method == "vineppo")
    assert sum(run.values("marge/generated_tokens")) == probes + sum(len(c.token_ids) for c in completions)
    assert max(run.values("actor_grad_norm")) > 0.0
    if method != "vineppo":
        assert all(len(g.state.prefix_ids) > 0 for g in groups if g.state.index)
        return
    # The same again without any engine: the tokens' advantages come back from the dump.
    replay = f"--experience_maker marge --vllm.num_engines 0 --marge.replay_dir {tmp_path}/dump --marge.share_prefix"
    again = train(task, tmp_path / "replay", replay, cluster)
    assert again.values("rollout/num_samples") == run.values("rollout/num_samples")
    assert again.values("policy_loss") == pytest.approx(run.values("policy_loss"), abs=1e-4)


def test_two_explorers_find_what_one_process_finds(task, tmp_path, cluster):
    found = []
    for n in (1, 2):
        flags = f"{STEPS} --marge.guidance_source fresh --vllm.num_engines 2 --train.full_determinism_enable"
        out = tmp_path / str(n)
        run = train(task, out, f"{flags} --marge.explorers {n} --marge.dump_dir {out}/dump", cluster)
        assert ("Explore problems, explorer 1" in run.log) == (n == 2)
        found.append((groups_of(out / "dump"), run.values("marge/outcome_diversity_per_1k_tokens")))
    assert found[0] == found[1] and len(found[0][0]) == 2


def check_async(run, folder, too_old: int = 0) -> list:
    """Every completion was trained on, waits or is one of the ``too_old`` ones, and knows its weights.

    Returns the groups.
    """
    assert "MargeGeneratorActor" in run.log and "MargeTrainingActor" in run.log
    groups = [g for rollout in groups_of(folder) for g in rollout]
    versions = [c.weight_versions[0] for g in groups for c in g.completions]
    assert min(versions) == 0 and 0 < max(versions) <= len(run.values("policy_loss"))
    waiting = run.values("marge/completions_waiting")[-1]
    assert sum(len(g.completions) for g in groups) == sum(run.values("rollout/num_samples")) + waiting + too_old
    return groups


def test_asynchronous_training_on_the_authors_rows_with_their_guidance_first(task, tmp_path, cluster):
    rows = [json.loads(line) for line in (task.folder / "train.jsonl").read_text().splitlines()]
    data = tmp_path / "given.jsonl"
    hit = "Let's think step by step.\n\nStep 1: 1+1=2\nStep 2: 2+2=4\nStep 3: 4+1=5"
    rows = [{"query": row["input"], "guidance hit": hit, "gt": row["label"]} for row in rows]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = f"""{STEPS} --data.prompt_dataset {data} --data.input_key query --data.label_key gt
        --marge.dump_dir {tmp_path}/dump --train.async_enable --train.num_episodes 3
        --marge.max_age 1 --train.batch_size 48"""
    run = train(task, tmp_path, [*flags.split(), "--marge.guidance_key", "guidance hit"], cluster)
    # What is sampled during a step is an update old in the next one; what then waits for a whole batch is too old.
    assert set(run.values("marge/oldest_age")[1:]) <= {0.0, 1.0} and run.values("marge/oldest_age")[0] == 0.0
    too_old = sum(run.values("marge/groups_too_old"))
    assert too_old > 0 and "more than --marge.max_age 1 weight updates before" in run.log
    assert run.values("marge/skipped_steps")[-1] == 4 * too_old // 48
    groups = check_async(run, tmp_path / "dump", 4 * too_old)
    # Without partial rollouts no state has completions from before and after a weight update.
    assert not any(g.crosses_update for g in groups)
    assert max(run.values("marge/groups_across_weight_updates")) == max(run.values("marge/candidate_tokens")) == 0.0
    first = [g for g in groups if g.state.guidance.visit == 0 and g.n_states == 3]
    assert len({g.state.guidance.id for g in first}) >= 1 and len(first) >= 16


def test_asynchronous_training_with_partial_rollouts_and_explorers(task, tmp_path, cluster, capsys):
    flags = f"""{TOKENS} --train.async_enable --train.partial_rollout_enable --marge.dump_dir {tmp_path}/dump
        --vllm.num_engines 2 --marge.explorers 2 --ckpt.save_steps 1 --marge.guidance_rule fixed"""
    run = train(task, tmp_path, f"{flags} --train.num_episodes 2", cluster)
    groups = check_async(run, tmp_path / "dump")
    assert any(run.values("marge/groups_across_weight_updates")) == any(g.crosses_update for g in groups)
    resumed = train(task, tmp_path, f"{flags} --train.num_episodes 3 --ckpt.load_enable", cluster)
    assert "Resumed with <<guidance of 16 problems>" in resumed.log
    # Three visits of each problem, none left out or done twice.
    visits = Counter(g.problem.id for rollout in groups_of(tmp_path / "dump") for g in rollout if g.state.index == 0)
    without = sum(resumed.values("marge/problems_without_guidance"))  # all candidates alike
    assert max(visits.values()) == 3 and sum(visits.values()) + without == 3 * 16
    guidances = {(g.problem.id, g.state.guidance.id) for rollout in groups_of(tmp_path / "dump") for g in rollout}
    assert len(guidances) == len(visits)  # the fixed rule keeps the first
    exported = tmp_path / "guidance.jsonl"
    flags = f"--ckpt_path {tmp_path}/checkpoints --model {task.folder}/model --data {task.folder}/train.jsonl"
    assert export_guidance.main([*flags.split(), "--out", str(exported)]) == 0
    assert [*json.loads(exported.read_text().splitlines()[-1])] == ["query", "guidance hit", "gt"]
    assert export_guidance.main([*flags.split(), "--out", str(tmp_path / "no"), "--label_key", "answer"]) == 2
    assert "line 1: the key 'answer' (--label_key) is missing" in capsys.readouterr().err


def test_more_steps_than_planned_keep_the_lowest_learning_rate_also_after_a_resume(task, tmp_path, cluster):
    flags = f"{TOKENS} --marge.expected_states 1 --ckpt.save_steps 1"
    run = train(task, tmp_path, flags, cluster)
    assert "and the learning-rate schedule counts on 1.00: it is planned for 4 optimizer steps" in run.log
    taken = sum(run.values("rollout/num_samples")) / 16
    said = f"Training took {taken:.0f} optimizer steps; the learning-rate schedule was planned for 4"
    assert taken >= 9 and said in run.log
    resumed = train(task, tmp_path, f"{flags} --train.num_episodes 2 --ckpt.load_enable", cluster)
    one, two = (samples / 16 for samples in resumed.values("rollout/num_samples")[-2:])
    assert resumed.values("marge/taken_steps")[-2:] == [taken + one, taken + one + two]
    assert resumed.values("marge/planned_steps")[-2:] == [8, 8]
    assert resumed.values("actor_lr") == pytest.approx([1e-4] * 4)  # of both runs: a tenth of the peak


NEVER_RIGHT = "def reward_func(queries, prompts, labels): return {'rewards': [0.0] * len(queries)}"


@pytest.mark.parametrize("mode", ["", "--train.async_enable"])
def test_a_run_without_any_signal_ends_with_an_error_in_place_of_a_model(task, tmp_path, cluster, mode):
    (tmp_path / "reward.py").write_text(NEVER_RIGHT)
    flags = f"{TOKENS} {mode} --reward.remote_url {tmp_path}/reward.py --marge.guidance_rule random"
    run = launch(task, tmp_path, flags, cluster)
    assert run.returncode != 0 and not (tmp_path / "model").exists()
    for step in (1, 2):
        assert f"Global step {step} had no signal: in none of its groups do two rewards differ" in run.log
    assert "training ended without a signal: in all 2 global steps" in run.log


def test_signal_before_a_checkpoint_counts_for_the_resumed_run(task, tmp_path, cluster):
    (tmp_path / "reward.py").write_text(NEVER_RIGHT)
    flags = f"{TOKENS} --marge.guidance_rule random --ckpt.save_steps 1"
    train(task, tmp_path, flags, cluster)
    more = f"--train.num_episodes 2 --ckpt.load_enable --reward.remote_url {tmp_path}/reward.py"
    resumed = train(task, tmp_path, f"{flags} {more}", cluster)
    assert "Global step 4 had no signal" in resumed.log and (tmp_path / "model" / "config.json").is_file()


# Ray's calls per engine in the process that starts the engines; the sampler's in the generator's, which loads the
# grader. Other processes would spend seconds on these imports.
FEWER_CALLS = """
import sys
if "openrlhf.cli.train_ppo_ray" in sys.orig_argv:
    from openrlhf.trainer.ray.vllm_engine import RolloutRayActor
    default = RolloutRayActor.options
    RolloutRayActor.options = lambda **options: default(max_concurrency=40, **options)
"""
FEWER_REQUESTS = "from openrlhf_marge.host.rollout import dispatch\ndispatch.COMPLETIONS_PER_ENGINE = 32\n"


def test_partial_rollouts_with_more_states_in_flight_than_an_engine_takes_calls(tmp_path, cluster):
    """Ray's limit lowered to 40 calls for up to 72 states: a paused engine must still hear that it may go on."""
    task = make_task(tmp_path, num_train=72)
    (tmp_path / "sitecustomize.py").write_text(FEWER_CALLS)
    (tmp_path / "reward.py").write_text(FEWER_REQUESTS + (tmp_path / "reward.py").read_text())
    environment = cluster | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [cluster.get("PYTHONPATH")])])
    }
    flags = f"""{TOKENS} --marge.n_candidates 2 --marge.guidance_rule random
        --rollout.batch_size 24 --rollout.n_samples_per_prompt 2 --train.batch_size 48 --train.micro_batch_size 48
        --rollout.micro_batch_size 48 --train.async_enable --train.partial_rollout_enable
        --marge.dump_dir {tmp_path}/dump"""
    run = train(task, tmp_path, flags, environment)
    check_async(run, tmp_path / "dump")
    assert max(run.values("marge/groups")) > 40


KILLS_AN_ENGINE = """
import glob, os, signal, threading, time
import psutil
calls = [0]

def kill():
    raylet = psutil.Process().parent()
    victim = next(p for p in raylet.children(recursive=True) if "VICTIM" in " ".join(p.cmdline()))
    with open(__file__ + ".killed", "w") as f:
        f.write(" ".join(str(p.pid) for p in victim.children(recursive=True)))
    os.kill(victim.pid, signal.SIGKILL)

def kill_after_rollout():
    while not glob.glob(os.path.dirname(__file__) + "/dump/rollout-*.parquet"):
        time.sleep(0.01)
    kill()

def reward_func(queries, prompts, labels):
    calls[0] += 1
    if "WHEN" == "sampling" and calls[0] == 40 and not glob.glob(__file__ + ".killed"):
        kill()
    if "WHEN" == "training" and calls[0] == 1:
        threading.Thread(target=kill_after_rollout, daemon=True).start()
    return {"rewards": [float(sum(map(ord, queries[0])) % 2)]}
"""


@pytest.mark.parametrize(
    ("victim", "when", "more"),
    [
        ("EngineCore", "sampling", ""),
        ("ray::RolloutRayActor", "sampling", "--marge.explorers 2"),
        ("ray::RolloutRayActor", "training", ""),
    ],
)
def test_a_run_whose_engine_dies_stops_soon_and_names_it(task, tmp_path, cluster, victim, when, more):
    reward = tmp_path / "reward.py"
    reward.write_text(KILLS_AN_ENGINE.replace("VICTIM", victim).replace("WHEN", when))
    flags = f"--vllm.num_engines 2 --reward.remote_url {reward} --marge.dump_dir {tmp_path}/dump {more}"
    run = launch(task, tmp_path, TOKENS + flags, cluster)
    killed = tmp_path / "reward.py.killed"
    seconds = time.time() - killed.stat().st_mtime
    for pid in filter(psutil.pid_exists, map(int, killed.read_text().split())):
        os.kill(pid, signal.SIGKILL)  # an engine whose actor died that way stays, and nobody else stops it
    assert run.returncode != 0 and seconds < 120
    # An engine that has nothing to do is missed when the others have finished the rollout.
    assert re.search(r"vLLM engine \d failed (?:while it sampled problem|before it got)", run.log), run.log[-3000:]
    assert "Global step 1" not in run.log  # no partial group was trained on
