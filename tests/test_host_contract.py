"""Every host symbol that is used or overridden, so that another version fails here and not in a run."""

import inspect
import re
from dataclasses import fields

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf.datasets.utils import blending_datasets
from openrlhf.models.utils import compute_reward
from openrlhf.trainer.experience_maker_registry import (
    ENTRY_POINT_GROUP,
    ExperienceMakerPlugin,
    load_experience_maker,
)
from openrlhf.trainer.ppo_trainer import BasePPOTrainer, LocalPPOTrainer
from openrlhf.trainer.ppo_trainer_async import LocalGenerateSamplesActor as GenerateActor
from openrlhf.trainer.ppo_trainer_async import LocalTrainingActor as TrainingActor
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ppo_utils.length_penalty import apply_length_penalties
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator, _collect_prompt_batch
from openrlhf.trainer.ray.launcher import RayActorGroup
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor
from openrlhf.trainer.ray.vllm_engine import RolloutRayActor, batch_vllm_engine_call
from openrlhf.utils.agent import SingleTurnAgentExecutor
from openrlhf.utils.deepspeed import DeepspeedStrategy
from vllm import SamplingParams
from vllm.logprobs import FlatLogprobs
from vllm.outputs import CompletionOutput
from vllm.sampling_params import RequestOutputKind

from openrlhf_marge.host.plugin import MargePlugin
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.training.async_trainer import MargeGeneratorActor, MargeTrainingActor
from openrlhf_marge.host.training.experience_maker import GroupExperienceMaker
from openrlhf_marge.host.training.keeps_records import KeepsRecords
from openrlhf_marge.host.training.trainer import MargeTrainer
from openrlhf_marge.host.training.weight_clock import TellsWeightVersion

ENGINE = RolloutRayActor.__ray_metadata__.modified_class


def parameters(function) -> list[str]:
    # ray.remote wraps the methods of the class it is given, and adds a parameter of its own.
    return [name for name in inspect.signature(function).parameters if name not in ("self", "_ray_trace_ctx")]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (LocalPPOTrainer.fit, ["global_step"]),
        (LocalPPOTrainer.get_max_steps, []),
        (BasePPOTrainer.train_step, ["rollout_samples", "global_step"]),
        (BasePPOTrainer.save_logs_and_checkpoints, ["global_step", "logs_dict", "client_states"]),
        (BasePPOTrainer.save_best_checkpoint, ["eval_metrics", "global_step", "client_states"]),
        (BasePPOTrainer.init_checkpoint_states, []),
        (BasePPOTrainer._detect_eval_metric_key, ["eval_metrics"]),
        (DeepspeedStrategy.moving_average, ["model", "model_ema", "beta", "device"]),
        (
            SamplesGenerator.__init__,
            ["strategy", *["prompts_dataloader", "eval_dataloader", "tokenizer", "vllm_engines"]],
        ),
        (SamplesGenerator.generate_samples, ["generate_kwargs"]),
        (SamplesGenerator._process_response_into_experience, ["response", "generate_kwargs"]),
        (_collect_prompt_batch, ["dataloader_iter", "num_prompts"]),
        (RemoteExperienceMaker.make_experience, ["samples_list"]),
        (RemoteExperienceMaker.compute_advantages_and_returns, ["experiences"]),
        (RemoteExperienceMaker.get_cumulative_returns, ["rewards", "action_mask", "gamma"]),
        (compute_reward, ["r", "kl_coef", "kl", "action_mask", "reward_clip_range"]),
        (apply_length_penalties, ["experiences", "args"]),
        (ENGINE.generate, ["prompt_token_ids", "sampling_params", "multi_modal_data"]),
        (batch_vllm_engine_call, ["engines", "method_name", "args", "rank_0_only", "kwargs"]),
        (SingleTurnAgentExecutor.__init__, ["remote_rm_url"]),
        (SingleTurnAgentExecutor._fetch_rewards_via_func, ["queries_list", "prompts_list", "labels_list"]),
        (SingleTurnAgentExecutor._fetch_rewards_via_http, ["queries_list", "prompts_list", "labels_list"]),
        (ExperienceMakerPlugin.add_arguments, ["parser"]),
        (ExperienceMakerPlugin.check_arguments, ["args"]),
        (ExperienceMakerPlugin.needs_reference_model, ["args"]),
        (ExperienceMakerPlugin.samples_generator_class, ["args"]),
        (ExperienceMakerPlugin.experience_maker_class, ["args"]),
        (ExperienceMakerPlugin.trainer_class, ["args"]),
    ],
)
def test_signature(function, names):
    assert parameters(function) == names


def test_functions_can_be_run_on_the_hosts_actors():
    """References, seeds and the schedule's end go that way: Ray's __ray_call__ on every actor of a group."""
    assert list(inspect.signature(ENGINE.__ray_call__).parameters)[:2] == ["self", "fn"]
    assert "self._actor_handlers = " in inspect.getsource(RayActorGroup)
    for name in ("save_model", "_unwrap_model", "is_rank_0"):
        assert hasattr(DeepspeedStrategy, name)
    policy = PolicyModelActor.__ray_metadata__.modified_class
    source = "".join(inspect.getsource(base) for base in policy.__mro__[1:-1])
    for attribute in ("strategy", "actor", "tokenizer", "actor_scheduler", "max_steps"):
        assert re.search(rf"self\.{attribute}\b[^\n=]* = ", source), attribute
    assert "get_scheduler,\n" in inspect.getsource(DeepspeedStrategy._ds_init_train_model)  # of transformers


def test_what_the_asynchronous_trainer_calls_and_keeps():
    generator, trainer = inspect.getsource(GenerateActor), inspect.getsource(TrainingActor)
    assert "self.prompts_dataloader.state_dict()" in generator and "self.samples_generator" in generator
    assert "super().broadcast_to_vllm()" in trainer
    assert parameters(GenerateActor.load_state_dict) == ["state_dict"]
    assert {"episode", "global_step", "data_loader_state_dict"} <= set(
        re.findall(r'"(\w+)":', inspect.getsource(BasePPOTrainer.init_checkpoint_states))
    )


def test_blending_datasets_takes_what_the_checks_pass():
    assert {"datasets", "probabilities", "strategy", "seed", "dataset_split"} <= set(parameters(blending_datasets))


def test_fields_of_the_hosts_types():
    used = {"rewards", "action_log_probs", "base_action_log_probs", "advantages", "returns", "kl", "action_mask"}
    assert used | {"info"} <= {f.name for f in fields(Experience)}
    assert {"token_ids", "finish_reason", "logprobs"} <= {f.name for f in fields(CompletionOutput)}
    params = SamplingParams(n=2, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY)
    assert (params.n, params.output_kind) == (2, RequestOutputKind.FINAL_ONLY)
    assert SamplingParams(logprobs=0, flat_logprobs=True).num_logprobs == 0
    assert {"start_indices", "token_ids", "logprobs"} <= {f.name for f in fields(FlatLogprobs)}


def test_the_plugin_is_found_by_name():
    assert ENTRY_POINT_GROUP == "openrlhf.experience_makers"
    assert type(load_experience_maker("marge")) is MargePlugin


def test_an_unknown_name_is_one_sentence_with_what_is_known():
    with pytest.raises(ValueError, match=r"--experience_maker foo: no such .* \(known: default, .*marge"):
        load_experience_maker("foo")


@pytest.mark.parametrize(
    ("ours", "host"),
    [(KeepsRecords, BasePPOTrainer), (TellsWeightVersion, BasePPOTrainer), (MargeGeneratorActor, GenerateActor),
     (MargeTrainingActor, TrainingActor), (GuidedSamplesGenerator, SamplesGenerator),
     (GroupExperienceMaker, RemoteExperienceMaker)],
)  # fmt: skip
def test_every_override_replaces_something_that_is_there(ours, host):
    said = {name for name, it in vars(ours).items() if (it.__doc__ or "").startswith(("Extends", "Replaces"))}
    assert said and all(hasattr(host, name) for name in said)
    public = {name for name in vars(ours) if hasattr(host, name) and not name.startswith("_")}
    assert public <= said | {"get_max_steps"}


@pytest.mark.parametrize("actor", [MargeTrainer, MargeGeneratorActor, MargeTrainingActor])
def test_no_actor_has_a_coroutine_method(actor):
    """With one, Ray runs all methods in an event loop, in which generate_samples could not open its own."""
    assert not [name for name, method in inspect.getmembers(actor) if inspect.iscoroutinefunction(method)]


def test_new_weights_get_their_number_while_the_host_pauses_the_engines():
    order = [cls.__name__ for cls in MargeTrainingActor.__mro__]
    assert order.index("LocalTrainingActor") < order.index("TellsWeightVersion") < order.index("BasePPOTrainer")


def test_the_default_name_gives_the_hosts_own_classes():
    class Args:
        class train:
            async_enable = False

    maker = load_experience_maker("default")
    assert maker.samples_generator_class(Args) is SamplesGenerator
    assert maker.experience_maker_class(Args) is RemoteExperienceMaker
    assert maker.trainer_class(Args) is LocalPPOTrainer
