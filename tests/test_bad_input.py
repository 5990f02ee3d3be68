"""One clear sentence, exit code not 0, before anything starts; through OpenRLHF's real command line."""

import asyncio
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf.cli.train_ppo_ray import parse_args
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import MistralConfig, PreTrainedTokenizerFast

from openrlhf_marge import MargeConfig
from openrlhf_marge.host.rollout.reward_client import RewardClient

GOOD_ROWS = [{"input": "1+1?", "label": "2"}, {"input": "1+2?", "label": "3"}]


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """parse_args on a good MARGE launch for GPUs whose flags and rows a test spoils; returns the args."""
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)

    def parse(*flags: str, rows=GOOD_ROWS):
        data = tmp_path / "train.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        base = f"""--experience_maker marge --actor.model_name_or_path m --data.prompt_dataset {data}
            --data.input_key input --data.label_key label --vllm.num_engines 1 --actor.num_gpus_per_node 1
            --rollout.n_samples_per_prompt 8 --rollout.batch_size 16 --train.batch_size 64"""
        return parse_args([*base.split(), *flags])

    return parse


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_good_launch_is_completed_and_every_change_is_said(launch, capsys):
    args = launch("--algo.advantage.estimator", "gae")
    assert args.algo.advantage.estimator == "group_norm" and args.critic.model_name_or_path is None
    assert args.vllm.enable_prefix_caching and args.algo.kl.use_loss and args.algo.kl.estimator == "k3"
    assert args.reward.remote_url[0].endswith("host/reward_func.py")
    said = capsys.readouterr().out
    for flag in ("--algo.advantage.estimator", "--vllm.enable_prefix_caching", "--algo.kl.use_loss"):
        assert f"[marge] {flag} is set to" in said


def test_the_checked_options_take_the_place_of_the_flags(launch):
    """The trainer's and the engines' processes get them pickled."""
    args = launch("--marge.stop", "END", "--marge.split", "tokens")
    assert args.marge == MargeConfig(stop=("END",), split="tokens")
    assert pickle.loads(pickle.dumps(args)).marge == args.marge


def test_reference_initial_leaves_the_kl_as_it_was_asked_for(launch):
    args = launch("--marge.reference", "initial")
    assert (args.algo.kl.use_loss, args.algo.kl.estimator) == (False, "k1")


@pytest.mark.parametrize(("reference", "gpus"), [("iteration", 2), ("initial", 8)])
def test_a_colocated_launch_needs_no_flags_of_a_reference_that_is_not_made(launch, reference, gpus):
    flags = "--train.colocate_all --actor.num_gpus_per_node 2 --vllm.num_engines 2 --marge.reference"
    args = launch(*flags.split(), reference)
    assert (args.ref.num_nodes, args.ref.num_gpus_per_node) == (1, gpus)


def test_what_only_advantages_of_tokens_forbid_is_taken_without_them(launch):
    launch(*["--actor.policy_loss_type", "gspo", "--reward.stop_properly_penalty_coef", "0.1"])
    launch(*["--train.enable_ema", "--ds.param_dtype", "fp32", "--ds.attn_implementation", "eager"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--experience_maker nope", r"--experience_maker nope: no such experience maker is installed"),
        ("--marge.n_candidates 0", r"--marge.n_candidates is 0; it must be at least 1"),
        ("--marge.split words", r"--marge.split is 'words'; it must be one of step, tokens"),
        ("--marge.reward nope", r"--marge.reward is 'nope'; it must be one of math"),
        ("--data.prompt_dataset /no/such.jsonl", r"--data.prompt_dataset /no/such.jsonl: there is no such file"),
        ("--eval.dataset /no/such.jsonl", r"--eval.dataset /no/such.jsonl: there is no such file"),
        ("--data.label_key answer", r"has no column 'answer' \(--data.label_key\); it has input, label"),
        ("--reward.remote_url /no/such.py", r"--reward.remote_url /no/such.py: there is no such file"),
        ("--rollout.n_samples_per_prompt 1", r"--rollout.n_samples_per_prompt is below 2"),
        ("--rollout.temperature 0", r"--rollout.temperature is not above 0"),
        ("--rollout.temperature inf", r"--rollout.temperature is not above 0, or no number"),
        ("--rollout.temperature nan", r"--rollout.temperature is nan; give a number"),
        ("--algo.kl.init_coef nan", r"--algo.kl.init_coef is nan; give a number"),
        ("--actor.adam.betas 0.9 nan", r"--actor.adam.betas is nan; give a number"),
        ("--marge.frontier_gain nan", r"--marge.frontier_gain is nan; give a number"),
        ("--rollout.top_p 2", r"--rollout.top_p is a share"),
        ("--rollout.top_p 0", r"--rollout.top_p is a share"),
        ("--actor.adam.lr -1", r"--actor.adam.lr is below 0"),
        ("--marge.frontier_samples 8", r"--marge.frontier_samples is for --marge.explore frontier; leave it out"),
        ("--marge.preset frontier --marge.vine_samples 3", r"--marge.vine_samples is for --marge.explore vineppo"),
        ("--marge.explore guided --marge.vanilla_match tokens", r"--marge.vanilla_match is for .* vanilla"),
        ("--marge.explore tree_rl --marge.spo_segment 30", r"--marge.spo_segment is for --marge.explore spo_tree"),
        ("--marge.explore tree_rl", r"names a tree, and how many states .* set --marge.expected_states"),
        (
            "--marge.explore spo_tree --marge.expected_states 3 --marge.spo_segment 100 --rollout.max_new_tokens 100",
            r"--marge.spo_segment is as long as the longest response",
        ),
        (
            "--marge.explore mcts_dpo",
            r"mcts_dpo looks for preference pairs, and gives no advantages .*; use cli.marge_dpo --kind mcts",
        ),
        ("--marge.explore mcts_dpo --marge.split tokens", r"--marge.split tokens has no delimiter"),
        ("--marge.explore vineppo --marge.mcts_depth 2", r"--marge.mcts_depth is for --marge.explore mcts_dpo"),
        (
            "--marge.explore vineppo --reward.stop_properly_penalty_coef 0.1",
            r"--reward.stop_properly_penalty_coef changes rewards after --marge.explore has weighed",
        ),
        *(
            (
                f"{flags} --reward.stop_properly_penalty_coef 0.1",
                r"changes rewards after --marge.advantage vine or --mar",
            )
            for flags in ("--marge.advantage vine", "--marge.prefix_credit value_gain")
        ),
        *(
            (f"{flags} --actor.policy_loss_type gspo", r"--actor.policy_loss_type gspo has one ratio for a response")
            for flags in ("--marge.explore vineppo", "--marge.advantage vine", "--marge.prefix_credit value_gain")
        ),
        (
            "--train.enable_ema",
            r"--train.enable_ema keeps its average in --ds.param_dtype, .*; set --ds.param_dtype fp32",
        ),
        (
            "--train.enable_ema --ds.param_dtype fp32 --ds.lora.rank 4",
            r"--train.enable_ema does not work with --ds.lora.rank",
        ),
        ("--marge.reference episode --algo.kl.init_coef 0", r"--marge.reference episode has no effect with --algo.kl"),
        (
            "--marge.state_budget adaptive --rollout.n_samples_per_prompt 2",
            r"--marge.state_budget adaptive does not work with --rollout.n_samples_per_prompt 2: .* at least 4",
        ),
        (
            "--marge.preset frontier --marge.frontier_probe 8 --rollout.n_samples_per_prompt 8",
            r"--marge.frontier_probe 8 is not below --rollout.n_samples_per_prompt 8",
        ),
        ("--train.batch_size 60", r"--train.batch_size 60 is not a multiple of --rollout.n_samples_per_prompt 8"),
        ("--actor.num_gpus_per_node 3", r"not a multiple of --rollout.micro_batch_size x actor ranks = 1 x 3"),
        ("--vllm.num_engines 0", r"--vllm.num_engines is not set"),
        ("--marge.reference episode --ds.lora.rank 4", r"--marge.reference episode does not work with --ds.lora.rank"),
        ("--marge.explorers 0", r"--marge.explorers is 0; it must be at least 1"),
        ("--marge.explorers 2 --vllm.num_engines 1", r"--marge.explorers is above --vllm.num_engines: each explorer"),
        ("--marge.max_age -1", r"--marge.max_age is -1; it must be at least 0"),
        ("--marge.max_age 0 --train.async_enable", r"--marge.max_age 0 does not work with --train.async_enable, "),
        ("--marge.max_age 3 --marge.replay_dir d", r"--marge.max_age does not work with --marge.replay_dir: the dump"),
        ("--marge.advantage vine --algo.advantage.is_correction_level token", r"--marge.advantage vine .*leave"),
        ("--marge.dump_dir d --marge.replay_dir d", r"--marge.dump_dir does not work with --marge.replay_dir"),
        ("--marge.replay_dir /no/such", r"--marge.replay_dir /no/such holds no rollout-"),
        ("--ckpt.save_steps 1 --ckpt.max_num 1", r"--ckpt.max_num is below 2"),
        ("--marge.guidance_rule fixed --marge.guidance_source fresh", r"fresh picks at every visit"),
        ("--marge.max_states 0", r"--marge.max_states is 0; it must be at least 1"),
        ("--train.agent_func_path a.py", r"--train.agent_func_path does not work with MARGE"),
        ("--reward.model_name_or_path rm", r"--reward.model_name_or_path does not work with MARGE"),
        ("--algo.dynamic_filtering_enable", r"--algo.dynamic_filtering_enable does not work with MARGE"),
        ("--reward.overlong_buffer_len 8", r"--reward.overlong_buffer_len does not work with MARGE"),
        ("--rollout.vllm_generate_batch_size 32", r"--rollout.vllm_generate_batch_size does not work with MARGE"),
        ("--data.max_images_per_prompt 1", r"--data.max_images_per_prompt does not work with MARGE"),
        ("--algo.kl.target 0.1", r"--algo.kl.target does not work with MARGE"),
        *(
            (f"--marge.share_prefix {flags}", rf"--marge.share_prefix does not work with {named}.*; leave one out")
            for flags, named in (
                ("--ds.ring_attn_size 2 --actor.num_gpus_per_node 2", "--ds.ring_attn_size above 1, which cuts rows"),
                ("--ds.tensor_parallel_size 2 --actor.num_gpus_per_node 2", "--ds.tensor_parallel_size above 1"),
                ("--ds.use_liger_kernel", "--ds.use_liger_kernel, which has"),
                ("--actor.aux_loss_coef 0.01", "--actor.aux_loss_coef, which counts"),
                (
                    "--actor.gradient_checkpointing_reentrant",
                    "--actor.gradient_checkpointing_reentrant, which forgets",
                ),
            )
        ),
    ],
)
def test_refusals(launch, flags, sentence):
    with pytest.raises(SystemExit, match=sentence):
        launch(*flags.split())


def test_trees_launch_with_what_the_schedule_needs(launch):
    args = launch("--marge.explore", "spo_tree", "--marge.spo_branches", "4", "2", "--marge.expected_states", "3")
    assert args.marge.spo_branches == (4, 2) and args.marge.scheduled_states == 3.0
    assert launch("--marge.explore", "tree_rl", "--actor.lr_scheduler", "constant").marge.needs_log_probs
    assert launch("--marge.explore", "vineppo").marge.scheduled_states == 1.0


def test_a_text_that_is_not_utf_8_is_named_with_its_row(launch, tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"input": "1+1?", "label": "2"}\n{"input": "caf\xe9?", "label": "3"}\n'.encode("latin-1"))
    with pytest.raises(SystemExit, match=rf"--data.prompt_dataset {path}, row 2: column 'input' is not UTF-8"):
        launch("--data.prompt_dataset", str(path))


def test_a_cot_prefix_that_the_models_tokenizer_loses_is_refused(launch, tmp_path):
    core = Tokenizer(models.WordLevel({"<unk>": 0, "Step": 1, "1:": 2}, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<unk>").save_pretrained(tmp_path / "model")
    flags = ("--actor.model_name_or_path", str(tmp_path / "model"), "--marge.cot_prefix", "Step 1:")
    with pytest.raises(SystemExit, match=r"--marge.cot_prefix 'Step 1:' is 'Step1:' after it was encoded and decoded"):
        launch(*flags)
    assert launch(*flags, "--marge.split", "tokens").marge.cot_prefix == "Step 1:"


def test_a_model_whose_layers_look_through_a_window_is_refused_with_shared_prefixes(launch, tmp_path):
    core = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<unk>").save_pretrained(tmp_path / "model")
    MistralConfig(sliding_window=4096).save_pretrained(tmp_path / "model")
    flags = ("--actor.model_name_or_path", str(tmp_path / "model"), "--marge.split", "tokens")
    sentence = "--marge.share_prefix does not work with this model: it has a sliding window of 4096 tokens"
    with pytest.raises(SystemExit, match=sentence):
        launch(*flags, "--marge.share_prefix")
    assert not launch(*flags).marge.share_prefix


def test_without_a_gpu_no_engine_compiles(launch, monkeypatch, capsys):
    """The environment of a CPU has TORCHDYNAMO_DISABLE, with which vLLM's compiling is an error."""
    assert not launch().vllm.enforce_eager
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert launch("--vllm.sync_backend", "gloo").vllm.enforce_eager
    assert "[marge] --vllm.enforce_eager is set to True (DS_ACCELERATOR=cpu)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--vllm.sync_backend nccl", "--vllm.sync_backend nccl does not work on a CPU"),
        ("--train.colocate_all --vllm.enable_sleep", "--vllm.enable_sleep does not work on a CPU"),
        ("--ds.enable_sleep --ds.zero_stage 0", "--ds.enable_sleep does not work with --ds.zero_stage 0"),
    ],
)
def test_refusals_where_there_is_no_gpu(launch, monkeypatch, flags, sentence):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    with pytest.raises(SystemExit, match=sentence):
        launch("--vllm.sync_backend", "gloo", *flags.split())


@pytest.mark.parametrize(("flags", "word"), [("--marge.n_stats 3", "--marge.n_stats"), ("--marge.n_states x", "'x'")])
def test_unknown_and_malformed_flags_end_with_the_flag_and_a_short_usage(launch, capsys, flags, word):
    with pytest.raises(SystemExit) as error:
        launch(*flags.split())
    said = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2 and word in said[-1] and len(said) <= 3


@pytest.mark.parametrize("template", [r"{} Answer in \boxed{}.", r"Answer {x} in \boxed{}: {}", "{} {", r"\boxed{}"])
def test_an_input_template_with_other_braces_is_refused_and_the_mend_is_said(launch, template):
    with pytest.raises(SystemExit, match=r"must hold \{\} once, .* write every other brace twice, as in \\boxed\{\{"):
        launch("--data.input_template", template)
    with pytest.raises(SystemExit, match=r"--data.input_template does not work with --data.apply_chat_template"):
        launch("--data.input_template", "Q: {}", "--data.apply_chat_template")
    launch("--data.input_template", r"{} Answer in \boxed{{}}.")


@pytest.mark.parametrize(("template", "lacks"), [("Q: {}\n", True), ("<bos>Q: {}\n", False)])
def test_the_first_prompt_is_shown_and_whether_it_lacks_the_models_bos(launch, tmp_path, capsys, template, lacks):
    core = Tokenizer(models.BPE({"<bos>": 0, "<eos>": 1, **{c: 2 + i for i, c in enumerate("Q: 1+?\nAB")}}, []))
    core.decoder = decoders.Fuse()
    core.add_special_tokens(["<bos>", "<eos>"])
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<bos>", eos_token="<eos>")
    made.save_pretrained(tmp_path / "model")
    flags = ("--actor.model_name_or_path", str(tmp_path / "model"), "--marge.cot_prefix", "A:")
    launch(*flags, "--data.input_template", template)
    said = capsys.readouterr().out
    assert f"[marge] the first prompt and the begin of its responses: {template.format('1+1?') + 'A:'!r}\n" in said
    sentence = "[marge] prompts do not begin with '<bos>', which the model's tokenizer puts before a text"
    assert (sentence in said) == lacks


def test_a_chat_template_that_the_model_does_not_have_is_refused_before_ray_starts(launch, tmp_path):
    core = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<unk>").save_pretrained(tmp_path / "model")
    flags = ("--actor.model_name_or_path", str(tmp_path / "model"), "--marge.split", "tokens")
    with pytest.raises(SystemExit, match=r"model has no chat template; leave --data.apply_chat_template out"):
        launch(*flags, "--data.apply_chat_template")


@pytest.mark.parametrize("label", ["", "  ", None])
def test_an_empty_label_is_named_by_file_and_row(launch, label):
    with pytest.raises(SystemExit, match=r"train.jsonl, row 2: column 'label' \(--data.label_key\) is empty"):
        launch(rows=[GOOD_ROWS[0], {"input": "q", "label": label}, GOOD_ROWS[1]])


def test_a_dump_of_another_run_is_not_written_into(launch, tmp_path):
    write(tmp_path / "rollout-00000001.parquet", "")
    with pytest.raises(SystemExit, match=r"--marge.dump_dir .* holds the files of another run"):
        launch("--marge.dump_dir", str(tmp_path))
    launch("--marge.dump_dir", str(tmp_path), "--ckpt.load_enable")


def test_given_guidance_must_be_there_and_start_as_responses_do(launch):
    hits = (None, "Let's think step by step.\n\nStep 1: x", "x")
    rows = [{"input": "q", "label": "1", "hit": text} for text in hits]
    with pytest.raises(SystemExit, match=r"row 3: column 'hit' \(--marge.guidance_key\) does not start with --marge"):
        launch("--marge.guidance_key", "hit", rows=rows)
    launch("--marge.guidance_key", "hit", rows=rows[:2])
    launch("--marge.guidance_key", "hit", "--marge.split", "tokens", rows=rows)
    with pytest.raises(SystemExit, match=r"has no column 'gone' \(--marge.guidance_key\); it has input, label, hit"):
        launch("--marge.guidance_key", "gone", rows=rows)


def test_an_unreadable_data_file_is_named(launch, tmp_path):
    broken = write(tmp_path / "broken.jsonl", '{"input": "a"')
    with pytest.raises(
        SystemExit, match=r"--data.prompt_dataset .*broken.jsonl cannot be read: .*, line 1 is not JSON"
    ):
        launch("--data.prompt_dataset", broken)
    rows = '{"input": "a", "label": "1"}\n' * 2
    third = write(tmp_path / "third.jsonl", rows + '{"input": "b", "label": }\n' + rows)
    said = r"cannot be read: .*third.jsonl, line 3 is not JSON: Expecting value, character 25; mend or drop the row"
    with pytest.raises(SystemExit, match=said):
        launch("--data.prompt_dataset", third)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("def reward_func(q, p, l): return None", "the reward function returned nothing"),
        ("def reward_func(q, p, l): return {'rewards': [7.0]}", r"the reward is 7.0; it must lie in \[0, 1\]"),
        ("def reward_func(q, p, l): return {'rewards': [float('nan')]}", "the reward is nan"),
        ("def other(): pass", "does not load or defines no reward_func"),
        ("import nothing_of_that_name", "does not load or defines no reward_func"),
    ],
)
def test_a_reward_file_that_cannot_serve_is_refused(launch, tmp_path, body, sentence):
    path = write(tmp_path / "reward.py", body)
    with pytest.raises(SystemExit, match=f"--reward.remote_url {path}.*{sentence}"):
        launch("--reward.remote_url", path)


@pytest.mark.parametrize(("labels", "is_told"), [(("24: 3 8 2 4", "1"), False), (("24", "1"), True)])
def test_the_trial_of_a_reward_has_a_label_of_the_data(launch, tmp_path, capsys, labels, is_told):
    rows = [{"input": "Make 24 from 3 8 2 4.", "label": label} for label in labels]
    launch("--marge.reward", "countdown", "--ckpt.path", str(tmp_path), rows=rows)
    said = "the label '24' has no target and numbers; write TARGET: NUMBERS, such as '24: 3 8 2 4'"
    assert (said in capsys.readouterr().out) == is_told


def test_a_domains_reward_is_in_a_file_that_every_process_can_load(
    launch, install_reward, tmp_path, capsys, monkeypatch
):
    install_reward("length", "def reward(response, label): return min(1.0, len(response) / float(label))")
    monkeypatch.chdir(tmp_path)
    args = launch("--marge.reward", "length", "--ckpt.path", "checkpoints")
    assert args.reward.remote_url == [str(tmp_path / "checkpoints" / "_marge" / "reward_length.py")]
    assert f"[marge] --reward.remote_url is set to {args.reward.remote_url[0]} (--marge.reward length)" in (
        capsys.readouterr().out
    )
    (reward,) = asyncio.run(RewardClient(args.reward.remote_url).grade("What? ", "4", ["a"]))
    assert (reward.value, reward.is_correct) == (0.25, False)
    with pytest.raises(SystemExit, match=r"--marge.reward does not work with --reward.remote_url: .*leave one out"):
        launch("--marge.reward", "length", "--reward.remote_url", "http://localhost:5000")


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        ("seven", "def reward(r, l): return 7", r"--marge.reward seven returned 7; it must return a number"),
        ("nothing", "def reward(r, l): pass", r"--marge.reward nothing returned None; it must return"),
        ("needy", "import nothing_of_that_name", r"--marge.reward needy \(needy_rewards:reward\) does not load: Mod"),
    ],
)
def test_a_domains_reward_that_cannot_serve_is_refused(launch, install_reward, tmp_path, name, body, sentence):
    install_reward(name, body)
    with pytest.raises(SystemExit, match=sentence):
        launch("--marge.reward", name, "--ckpt.path", str(tmp_path))


@pytest.mark.stack
def test_the_command_itself_ends_with_the_sentence_and_no_ray_process():
    command = [sys.executable, "-m", "openrlhf.cli.train_ppo_ray", "--experience_maker", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"DS_ACCELERATOR": "cpu"})
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("train_ppo_ray: error: --experience_maker nope:")
    assert "Started a local Ray" not in done.stderr + done.stdout


@pytest.mark.parametrize(("flag", "what"), [("split", "splitter"), ("explore", "exploration")])
def test_ones_own_way_needs_the_states_that_the_learning_rate_counts_on(launch, install, flag, what):
    install("own_way", "def way(): pass", f"[openrlhf_marge.{what}s]\nown = own_way:way\n")
    with pytest.raises(SystemExit, match=rf"--marge.{flag} names an installed {what}, .*set --marge.expected_states"):
        launch(f"--marge.{flag}", "own")
    for enough in (["--marge.expected_states", "2"], ["--actor.lr_scheduler", "constant"]):
        assert getattr(launch(f"--marge.{flag}", "own", *enough).marge, flag) == "own"


@pytest.fixture
def install_exploration(install):
    """Install an exploration under its name, with traits as they stand in the code."""

    def install_exploration(name: str, traits: str) -> None:
        body = f"""from openrlhf_marge.method.explorations.traits import Traits
async def {name}(visit): pass
{name} = {traits}({name})
"""
        install(f"{name}_module", body, f"[openrlhf_marge.explorations]\n{name} = {name}_module:{name}\n")

    return install_exploration


def test_ones_own_exploration_that_weighs_tokens_is_treated_as_the_packages_own(launch, install_exploration):
    install_exploration(
        "weighing", "Traits(weighs_tokens=True, reads_log_probs=True, states=lambda c: c.n_states / 4)"
    )
    config = launch("--marge.explore", "weighing").marge  # --marge.expected_states is not needed
    assert config.needs_log_probs and config.scheduled_states == 1.25
    for flags, sentence in (
        (("--reward.stop_properly_penalty_coef", "0.1"), r"--marge.explore has weighed the tokens by them"),
        (("--marge.advantage", "mean"), r"--marge.explore weighing has its own .*; leave out --marge.advantage"),
        (("--marge.state_budget", "adaptive"), r"--marge.explore weighing has .*; leave out --marge.state_budget"),
    ):
        with pytest.raises(SystemExit, match=sentence):
            launch("--marge.explore", "weighing", *flags)
    flags = "--reward.stop_properly_penalty_coef 0.1 --marge.advantage mean --marge.state_budget adaptive"
    install_exploration("only_counted", "Traits(states=lambda c: 1)")
    assert not launch("--marge.explore", "only_counted", *flags.split()).marge.needs_log_probs


def test_ones_own_exploration_for_pairs_is_refused_in_training(launch, install_exploration):
    install_exploration("pairing", "Traits(for_pairs=True, asks_the_model=lambda c: c.mcts_value != 'graded')")
    assert not MargeConfig(explore="pairing").asks_the_model
    assert MargeConfig(explore="pairing", mcts_value="self_evaluation").asks_the_model
    with pytest.raises(
        SystemExit, match=r"an installed exploration that looks for preference pairs, .*; use cli.expl"
    ):
        launch("--marge.explore", "pairing", "--marge.expected_states", "2")


@pytest.mark.parametrize(
    ("name", "traits", "sentence"),
    [
        (
            "nothing_counted",
            "Traits(states=lambda c: 0.0)",
            r"nothing_counted counts on 0.0 states a problem; mend",
        ),
        ("endless", "Traits(states=lambda c: float('inf'))", r"endless counts on inf states a problem"),
        ("unsaid", "Traits(states=lambda c: float('nan'))", r"unsaid counts on nan states a problem"),
        ("misspelt", "Traits(weigh_tokens=True)", r"misspelt \(.*\) does not load: TypeError: .*'weigh_tokens'"),
        (
            "loose",
            "(lambda s: setattr(s, 'traits', {}) or s)",
            r"loose \(.*\) has traits that are no Traits; decorate",
        ),
    ],
)
def test_traits_that_say_nothing_usable_are_refused(launch, install_exploration, name, traits, sentence):
    install_exploration(name, traits)
    with pytest.raises(SystemExit, match=rf"--marge.explore {sentence}"):
        launch("--marge.explore", name)
