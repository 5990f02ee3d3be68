"""``--marge.reference episode``: weights pass from policy to reference one parameter after another."""

from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

import safetensors.torch
import torch
from safetensors.torch import load_file

from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.host.training.reference import _load_reference, _save_policy


def actor_with(model, rank=0, stage=2):
    """What the functions use of OpenRLHF's policy and reference actors."""
    args = SimpleNamespace(ds=SimpleNamespace(zero_stage=stage))
    strategy = SimpleNamespace(args=args, is_rank_0=lambda: rank == 0, _unwrap_model=lambda held: held)
    return SimpleNamespace(strategy=strategy, actor=model, model=model)


@pytest.fixture
def saved(tmp_path):
    policy = build_model(build_tokenizer(), seed=1)
    path = tmp_path / "_marge" / "reference_1.part"
    _save_policy(actor_with(policy), str(path))
    return policy, path


def test_the_reference_gets_the_policys_weights_in_its_own_dtype(saved):
    policy, path = saved
    reference = build_model(build_tokenizer(), seed=2).to(torch.bfloat16)
    _load_reference(actor_with(reference, rank=1), str(path))
    for (name, expected), (_, loaded) in zip(policy.named_parameters(), reference.named_parameters(), strict=True):
        assert loaded.dtype == torch.bfloat16 and torch.equal(loaded, expected.bfloat16()), name


def test_no_more_than_one_saved_parameter_is_in_memory(saved, monkeypatch):
    policy, path = saved
    alive, most = set(), []

    class Counted(dict):
        """The tensors of a file, counted until nobody holds them."""

        def __init__(self, tensors):
            super().__init__(tensors)
            alive.add(id(self))
            most.append((len(alive), sum(map(torch.numel, tensors.values()))))

        def __del__(self):
            alive.discard(id(self))

    monkeypatch.setattr(safetensors.torch, "load_file", lambda file: Counted(load_file(file)))
    _load_reference(actor_with(build_model(build_tokenizer(), seed=2)), str(path))
    sizes = [parameter.numel() for parameter in policy.parameters()]
    assert most == [(1, size) for size in sizes]
    assert len(sizes) == 26


def test_other_ranks_write_nothing(tmp_path):
    _save_policy(actor_with(build_model(build_tokenizer(), seed=1), rank=1), str(tmp_path / "reference_1.part"))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_missing_are_named(saved):
    _, path = saved
    (path / "model.norm.weight.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.norm\.weight\.safetensors"):
        _load_reference(actor_with(build_model(build_tokenizer(), seed=2)), str(path))
