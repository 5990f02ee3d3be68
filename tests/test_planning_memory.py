"""Plans: shapes of models, what lies in memory and on disk, against numbers computed by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from openrlhf_marge import MargeConfig
from openrlhf_marge.planning.devices import devices_of
from openrlhf_marge.planning.disk import disk_of
from openrlhf_marge.planning.machines import GIB, PRESETS
from openrlhf_marge.planning.memory import Memory
from openrlhf_marge.planning.shape import ModelShape, read_shape, shape_of

from planned_launches import CONFIGS, PASSES, N, config_of, launch, shape


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_are_those_that_are_known(name):
    assert shape(name).parameters == CONFIGS[name][1]


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_parameters_and_tensors_are_those_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    sizes = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
        vocab_size=100, tie_word_embeddings=kind == "llama",
    )  # fmt: skip
    config = transformers.AutoConfig.for_model(kind, **sizes)
    found = list(transformers.AutoModelForCausalLM.from_config(config).parameters())
    ours = shape_of(config.to_dict(), kind)
    assert (ours.parameters, ours.tensors) == (sum(p.numel() for p in found), len(found))


def test_biases_of_llama_are_counted():
    plain = config_of("Llama-3.1-8B")
    biased = shape_of(plain | {"attention_bias": True, "mlp_bias": True}, "x").parameters
    assert biased - shape_of(plain, "x").parameters == 32 * (4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096)


def test_flops_are_two_for_each_weight_and_four_for_each_pair_and_channel():
    tiny = ModelShape(hidden=2, layers=3, queries=2, keys=1, inner=5, vocab=7)
    weights = 3 * 2 * (2 * 2 + 2 * 1 + 3 * 5)
    assert tiny.forward(10, 4, 55) == 2 * weights * 10 + 2 * 2 * 7 * 4 + 4 * 3 * 2 * 55


def test_a_config_that_is_not_there_or_not_known_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing; give .* with --config"):
        read_shape(str(tmp_path))
    with pytest.raises(ValueError, match="model_type 'mamba'"):
        shape_of({"model_type": "mamba"}, "x")
    with pytest.raises(ValueError, match="no vocab_size"):
        shape_of(config_of("Qwen2-7B") | {"vocab_size": 0}, "x")


def parts(args, phase, passes=None) -> dict[str, float]:
    memory = Memory(args=args, shape=shape(), machine=PRESETS["H100"], devices=devices_of(args))
    usages = memory.usages(passes or PASSES, passes or PASSES)
    return {p.name: p.bytes for u in usages if u.phase == phase for p in u.parts}


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [(1, 2 * N, 2 * N, 12 * N / 8), (2, 2 * N, 2 * N / 8, 12 * N / 8), (3, 2 * N / 8, 2 * N / 8, 12 * N / 8)],
)
def test_what_zero_divides_among_8_gpus(stage, weights, gradients, optimizer):
    found = parts(launch(ds__zero_stage=stage), "training")
    assert (found["weights"], found["gradients"], found["optimizer"]) == (weights, gradients, optimizer)


def test_offload_float32_and_adapters():
    found = parts(launch(ds__adam_offload=True), "training")
    assert (found["gradients"], found["optimizer"]) == (0, 0)
    found = parts(launch(ds__param_dtype="fp32"), "training")
    assert (found["weights"], found["optimizer"]) == (4 * N, N)  # two moments of 4 bytes, an eighth of them
    adapters = 24 * 8 * (2 * (896 + 896) + 2 * (896 + 128) + 3 * (896 + 4864))
    found = parts(launch(ds__lora=SimpleNamespace(rank=8)), "training")
    assert (found["weights"], found["optimizer"]) == (2 * N, 12 * adapters / 8)


def test_activations_and_logits_of_the_largest_micro_batch():
    per_token = 16 * 896 + 6 * 896 + 6 * 128 + 8 * 4864
    found = parts(launch(), "training")
    assert found["activations"] == 2 * 2048 * 24 * per_token  # 2 rows as long as they may be
    assert found["logits"] == 2 * 2048 * 151936 * 10
    found = parts(launch(actor__gradient_checkpointing_enable=True, train__dynamic_batch_enable=True), "training")
    assert found["activations"] == 16384 * (24 * 896 * 2 + per_token)
    found = parts(launch(ds__attn_implementation="sdpa"), "training", replace(PASSES, logits=5))
    assert found["logits"] == 2 * 2048 * 151936 * 17.5 / 2  # without flash-attn; logits where they are needed


def test_what_sleeps_leaves_its_place_and_the_reference_needs_one():
    awake = dict(train__colocate_all=True, ds__zero_stage=3)
    asleep = awake | dict(vllm__enable_sleep=True, ds__enable_sleep=True)
    assert "KV cache" in parts(launch(**awake), "training") and "KV cache" not in parts(launch(**asleep), "training")
    assert "optimizer" in parts(launch(**awake), "generation") and "optimizer" not in parts(
        launch(**asleep), "generation"
    )
    assert parts(launch(**asleep), "training")["reference's weights"] == 2 * N / 8
    own = launch(MargeConfig(), **asleep)  # the reference of the iteration is no model
    assert "reference's weights" not in parts(own, "training")


def test_the_kv_cache_is_what_an_engine_has_left():
    found = parts(launch(), "generation")
    budget = 0.6 * 79.1 * GIB
    assert found["KV cache"] == pytest.approx(budget - 2 * N - 2 * GIB)
    memory = Memory(args=launch(), shape=shape(), machine=PRESETS["H100"], devices=devices_of(launch()))
    assert memory.cached_tokens == int((budget - 2 * N - 2 * GIB) / (2 * 24 * 128 * 2))


def misfit(**changed) -> str | None:
    args = launch(**changed)
    memory = Memory(args=args, shape=shape("Llama-3.1-8B"), machine=PRESETS["A100"], devices=devices_of(args))
    return memory.misfit(memory.usages(PASSES, PASSES))


def test_what_does_not_fit_is_named():
    fits = dict(ds__zero_stage=3, actor__gradient_checkpointing_enable=True)
    assert misfit(**fits) is None
    assert misfit(**fits | dict(actor__num_gpus_per_node=1)).startswith(
        "there is no room for optimizer: the pass for log-probs takes 110.4 GiB"
    )
    assert misfit(ds__zero_stage=3, train__micro_batch_size=8).startswith("there is no room for activations: training")
    assert misfit(**fits | dict(vllm__gpu_memory_utilization=0.2)).startswith(
        "there is no room for the KV cache: --vllm.gpu_memory_utilization 0.2 of 79.2"
    )


def test_devices_that_are_shared_count_once():
    apart = devices_of(launch())
    assert (apart.policy, apart.reference, apart.critic, apart.engines, apart.total) == (8, 8, 0, 8, 24)
    assert devices_of(launch(train__colocate_actor_ref=True)).total == 16
    assert devices_of(launch(train__colocate_all=True)).total == 8
    assert devices_of(launch(train__colocate_all=True, train__async_enable=True)).total == 16
    assert devices_of(launch(MargeConfig())).total == 16  # no reference
    assert devices_of(launch(critic__model_name_or_path="m")).total == 32
    for flag, named in (("actor__num_gpus_per_node", "the policy"), ("vllm__num_engines", "vllm.num_engines")):
        with pytest.raises(ValueError, match=named):
            devices_of(launch(**{flag: 0}))
    with pytest.raises(ValueError, match=r"--marge\.replay_dir samples nothing"):
        devices_of(launch(MargeConfig(replay_dir="d")))
    with pytest.raises(ValueError, match="which no pilot tells"):
        devices_of(launch(algo__dynamic_filtering_enable=True))


def test_disk_is_bounded_by_the_checkpoints_that_stay():
    args = launch(MargeConfig(dump_dir="d"), ckpt__save_steps=5)
    found = disk_of(args, shape(), devices_of(args), 40, 1000, 2.0)
    assert (found.checkpoints, found.checkpoint_bytes, found.dump_bytes) == (3, 14 * N, 2000)
    assert found.total == 3 * 14 * N + 2 * N + 2000
    assert disk_of(args, shape(), devices_of(args), 9, 0, None).checkpoints == 1
    args.ckpt.save_hf = True  # OpenRLHF removes none of these
    assert disk_of(args, shape(), devices_of(args), 40, 0, None).total == 3 * 14 * N + (1 + 8) * 2 * N
    assert disk_of(launch(), shape(), devices_of(launch()), 40, 1000, None).total == 2 * N
