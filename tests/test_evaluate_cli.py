"""python -m openrlhf_marge.cli.evaluate: with a scripted engine, and once with vLLM."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("transformers", reason="the host is not installed")

from transformers import AutoTokenizer

import openrlhf_marge.grading
from openrlhf_marge.cli import evaluate
from openrlhf_marge.evaluation import DATA_SETS, answering, tasks, vote_of
from openrlhf_marge.evaluation.answering import Output
from openrlhf_marge.evaluation.checkpoints import CHECKPOINTS, located, own_prompt
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.problems import published_rows
from openrlhf_marge.grading import Grade
from openrlhf_marge.runs.cpu import cpu_environment

from stack import warm_run

SENTENCE = r"Please reason step by step, and put your final answer within \boxed{}."
PROBLEMS = [{"input": f"What is {i}+1?", "label": f"{i + 1}"} for i in range(7)]
ANSWERS = (
    "so {right}",
    r"\boxed{{{right}}}",
    r"\boxed{{7/2}}",
    r"\boxed{{3.5}}",
    r"\boxed{{x}}",
    "no idea",
    "{right}.0",
)


class ScriptedEngine:
    """Answers problems of PROBLEMS by number and place; ``left`` calls of ``sample``, then it dies."""

    left = 10**9

    def __init__(self, model, max_len, seed, options, stop):
        type(self).started.append((max_len, seed, options, *([stop] if stop else [])))
        self.tokenizer = AutoTokenizer.from_pretrained(model)

    def sample(self, prompts, n, temperature, top_p):
        if not type(self).left:
            raise RuntimeError("the engine died")
        type(self).left -= 1
        type(self).prompts += [self.tokenizer.decode(ids) for ids in prompts]
        return [[self.output(ids, place) for place in range(n)] for ids in prompts]

    def greedy(self, prompts, runs):
        return [[self.output(ids, 0)] * runs for ids in prompts]

    def output(self, ids, place):
        number = int(re.search(r"What is (\d+)\+1", self.tokenizer.decode(ids))[1])
        text = ANSWERS[(number * place + place // 2) % len(ANSWERS)].format(right=number + 1)
        return Output(text, truncated=place == 3)


@pytest.fixture
def engine(monkeypatch):
    scripted = type("Scripted", (ScriptedEngine,), {"started": [], "prompts": []})
    monkeypatch.setattr(evaluate, "Engine", scripted)
    monkeypatch.setenv("MARGE_GRADER_WORKERS", "1")
    return scripted


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return path


@pytest.fixture
def run(task, tmp_path, data):
    """Evaluate with the flags given; the JSON written, None when it failed."""

    def run(flags="", data=data):
        out = tmp_path / "result.json"
        command = f"--model {task.folder}/model --data {data} --out {out} --max_len 128 --workers 2 {flags}"
        status = evaluate.main(command.split())
        assert status in (0, 1)
        return None if status else json.loads(out.read_text())

    return run


def stored(result):
    """The rows of the Parquet files, by problem."""
    files = sorted(Path(result["responses"]).glob("*.parquet"))
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row["index"])


def by_brute_force(rows, k):
    """pass@k and maj@k from the responses in the file, over all subsets of k."""
    passed, won = [], []
    for row in rows:
        votes = [
            None if r["answer"] is None else "right" if r["correct"] else vote_of(r["answer"]) for r in row["sampled"]
        ]
        draws = list(itertools.combinations(votes, k))
        passed.append(sum("right" in drawn for drawn in draws) / len(draws))
        won.append(sum(map(share_of_right, draws)) / len(draws))
    return sum(passed) / len(rows), sum(won) / len(rows)


def share_of_right(drawn):
    counts = Counter(vote for vote in drawn if vote is not None)
    best = [vote for vote in counts if counts[vote] == max(counts.values())]
    return ("right" in best) / max(len(best), 1)


def test_the_numbers_are_those_of_the_responses_in_the_file(engine, run):
    result = run("--n 6 --k 2 3 6 --greedy_runs 3 --batch_size 3")
    rows = stored(result)
    assert [(row["problem"], row["label"]) for row in rows] == [(p["input"], p["label"]) for p in PROBLEMS]
    for k in (1, 2, 3, 6):
        passed, won = by_brute_force(rows, k)
        assert result[f"pass@{k}"] == pytest.approx(passed)
        assert result.get(f"maj@{k}", result["pass@1"]) == pytest.approx(won)
    assert 0 < result["maj@3"] < result["pass@3"] < 1
    responses = [r for row in rows for r in row["sampled"]]
    assert result["no_answer"] == pytest.approx(sum(r["answer"] is None for r in responses) / len(responses))
    assert result["no_answer"] > 0
    assert result["truncated"] == pytest.approx(1 / 6)
    assert result["greedy_pass@1"] == 1.0 and [len(row["greedy"]) for row in rows] == [3] * 7
    second = rows[1]["sampled"]
    assert second[0] == {"text": "so 2", "answer": "2", "correct": True, "reason": "correct", "truncated": False}
    assert (result["problems"], result["n"], len(list(Path(result["responses"]).glob("*.parquet")))) == (7, 6, 3)


def test_what_is_done_is_not_sampled_again(engine, run, capsys):
    engine.left = 2
    assert run("--batch_size 3") is None
    said = capsys.readouterr().err
    assert said.endswith("\nevaluate: error: the engine died; the same command goes on where it was\n")
    assert len(engine.prompts) == 6
    engine.left = 10
    resumed = run("--batch_size 2")
    assert len(engine.prompts) == 7 and "What is 6+1?" in engine.prompts[-1]
    assert [options[1] for options in engine.started] == [0, 6]  # other seeds for other problems
    torn = Path(resumed["responses"]) / "problems-00000003.parquet"
    torn.write_bytes(torn.read_bytes()[:-50])
    assert run() == resumed and len(engine.prompts) == 10
    assert "problems-00000003.parquet is no Parquet file" in capsys.readouterr().out
    # Another k is a question to the same responses; another seed is not.
    assert "pass@16" in run("--k 16") and len(engine.prompts) == 10
    assert run("--seed 1")["responses"] != resumed["responses"] and len(engine.prompts) == 17


def test_a_model_trained_on_is_another_model(engine, run, task):
    first = run()
    weights = task.folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    trained = run()
    assert trained["responses"] != first["responses"]
    (task.folder / "model" / "README.md").write_text("its card")
    assert run() == trained


def test_prompt_and_prefix_as_the_engine_gets_them(engine, run):
    run("--response_prefix step --n 1 --greedy_runs 0")
    user = "<|im_start|>user\nWhat is 0+1?{}<|im_end|>\n<|im_start|>assistant\n{}"
    assert engine.prompts[0] == user.format("", "Let's think step by step.\n\nStep 1:")
    sentence = r" Please reason step by step, and put your final answer within \boxed{}."
    result = run("--prompt auto --n 1")
    assert engine.prompts[7] == user.format(sentence, "")
    assert result["prompt"] == "chat_boxed" and stored(result)[0]["prompt"] == engine.prompts[7]


def test_a_models_own_prompt_and_a_system_prompt_from_a_file(engine, run, tmp_path):
    sentence = r"Please reason step by step, and put your final answer within \boxed{}."
    plain = run("--prompt qwen2_boxed --n 1 --greedy_runs 0")
    assert engine.prompts[0] == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\nWhat is 0+1?\n{sentence}<|im_end|>\n<|im_start|>assistant\n"
    )
    (tmp_path / "system.md").write_text("When tackling tasks, act.\n")
    result = run(f"--prompt eurus --system_prompt {tmp_path}/system.md --n 1 --greedy_runs 0")
    assert engine.prompts[7].startswith("<|im_start|>system\nWhen tackling tasks, act.<|im_end|>\n<|im_start|>user\n")
    assert result["system_prompt"] == "When tackling tasks, act." and "system_prompt" not in plain
    assert result["responses"] != run("--prompt chat --n 1 --greedy_runs 0")["responses"]


OWN_PROMPTS = {  # system, user, of the problem {q}
    "StepDPO-HF": ("You are a helpful assistant.", "{q}\n" + SENTENCE),
    "ACEMath-7B": (None, "{q}"),
    "PRIME-EURUS-7B": ("Act.", "{q}\n\nPresent the answer in LaTex format: \\boxed{Your answer}"),
    "Qwen2.5-Math-7B-MARGE": (SENTENCE, "{q}"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_is_prompted_as_its_owners_do_and_as_the_paper_does(engine, run, task, tmp_path, name):
    (tmp_path / "system.md").write_text("Act.\n")
    system, user = OWN_PROMPTS[name]
    model = f"--model {name}={task.folder}/model --n 1 --greedy_runs 0"
    more = f" --system_prompt {tmp_path}/system.md" if name == "PRIME-EURUS-7B" else ""
    result = run(f"{model} --prompt own{more}")
    said = "" if system is None else f"<|im_start|>system\n{system}<|im_end|>\n"
    asked = f"<|im_start|>user\n{user.replace('{q}', 'What is 0+1?')}<|im_end|>\n<|im_start|>assistant\n"
    assert engine.prompts[0] == said + asked
    assert (result["model"], result["prompt"]) == (f"{task.folder}/model", CHECKPOINTS[name].prompt)
    assert run(f"{model} --prompt auto")["prompt"] == "chat_boxed"
    assert engine.prompts[7] == f"<|im_start|>user\nWhat is 0+1? {SENTENCE}<|im_end|>\n<|im_start|>assistant\n"


def test_a_checkpoints_name_is_that_of_the_hub_unless_a_folder_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located("StepDPO-HF") == "xinlai/Qwen2-7B-Instruct-Step-DPO" and located("StepDPO-HF=a=b") == "a=b"
    assert [located(model) for model in ("StepDPO", "runs/x=1", "runs/StepDPO-HF")] == [
        "StepDPO", "runs/x=1", "runs/StepDPO-HF"
    ]  # fmt: skip
    (tmp_path / "StepDPO-HF").mkdir()
    assert located("StepDPO-HF") == "StepDPO-HF" and own_prompt("StepDPO-HF") == "qwen2_boxed"


def test_a_checkpoint_is_read_from_the_hubs_cache_by_its_name(task, tmp_path):
    cache = tmp_path / "hub" / "models--xinlai--Qwen2-7B-Instruct-Step-DPO"
    shutil.copytree(task.folder / "model", cache / "snapshots" / "0f1e2d")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0f1e2d")
    program = """
from openrlhf_marge.evaluation.flags import parse_args
from openrlhf_marge.evaluation.prompting import Prompter
from openrlhf_marge.models import check_model
args = parse_args("--model StepDPO-HF --prompt own --data d --out o".split(), "")
check_model(args.model, 512)
print(Prompter(args.model, args.prompt, "").prompt("1+1?").text)
"""
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=cpu_environment() | offline, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    user = f"<|im_start|>user\n1+1?\n{SENTENCE}<|im_end|>\n<|im_start|>assistant\n"
    assert done.stdout == f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{user}\n"


def test_a_runs_own_template_and_stop_are_evaluated_with_as_it_trains(engine, run, capsys):
    """Neither a BOS nor a chat template is added, as OpenRLHF adds none."""
    plain, result = run("--n 1"), run(r"--n 1 --input_template Q:{}\boxed{{}} --stop Q: END")
    assert engine.prompts[7] == r"Q:What is 0+1?\boxed{}" and engine.started[1][-1] == ["Q:", "END"]
    assert (result["prompt"], result["input_template"]) == ("input_template", r"Q:{}\boxed{{}}")
    assert result["stop"] == ["Q:", "END"] and result["responses"] != plain["responses"]
    assert not {"stop", "input_template"} & plain.keys()
    with pytest.raises(SystemExit):
        run(r"--input_template {}\boxed{}")
    assert r"must hold {} once, where the problem goes; write every other brace twice, as in \boxed{{}}" in (
        capsys.readouterr().err
    )


def test_the_response_prefix_is_part_of_the_response(engine, run):
    result = run("--n 2 --greedy_runs 0 --response_prefix Hm")
    assert [r["text"] for r in stored(result)[0]["sampled"]] == ["Hmso 1", "Hmso 1"]


def test_another_reward_than_the_grader(engine, run, install_reward, data):
    install_reward("short", "def reward(response, label): return float(len(response) < 6)")
    plain, result = run("--n 3"), run("--n 3 --marge.reward short")
    responses = [r for row in stored(result) for r in row["sampled"]]
    assert {(len(r["text"]) < 6, r["answer"] is None, r["correct"], r["reason"]) for r in responses} == {
        (True, False, True, "correct"), (False, False, False, "wrong"), (False, True, False, "no_answer"),
    }  # fmt: skip
    assert result["no_answer"] == pytest.approx(sum(r["reason"] == "no_answer" for r in responses) / len(responses))
    assert result["reward"] == "short" and "reward" not in plain
    assert result["responses"] != plain["responses"]


def test_several_data_sets_and_prompts_that_are_too_long(engine, run, tmp_path, data, capsys):
    long = tmp_path / "long.jsonl"
    rows = [PROBLEMS[1], {"input": "9" * 128, "label": "1"}, PROBLEMS[2]]
    long.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run("--n 0", data=f"{data} {long}")
    assert [result[str(path)]["problems"] for path in (data, long)] == [7, 2]
    assert [result[str(path)]["problems_left_out_prompt_too_long"] for path in (data, long)] == [0, 1]
    assert "pass@1" not in result[str(long)] and result[str(long)]["greedy_pass@1"] == 1.0
    assert f"1 of 3 prompts leave no room for a response within --max_len 128 and are left out: {long}, line 2" in (
        capsys.readouterr().err
    )


def test_a_grader_that_fails_stops_the_evaluation(engine, run, monkeypatch, capsys):
    monkeypatch.setattr(answering, "grade", lambda text, label: Grade(False, "error"))
    assert run() is None
    # 50, or a few more that were being graded by then.
    said = r"evaluate: error: the grader failed on 100\.0% of the last [5-9]\d answers"
    assert re.search(said, capsys.readouterr().err)


def publish(folder, path, rows, config="default", split="test"):
    """A data set as on the hub: a file, and the card that says which configuration and split it is."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = folder / "README.md"
    entry = f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {path}\n"
    before = card.read_text().removesuffix("---\n") if card.exists() else "---\nconfigs:\n"
    card.write_text(f"{before}{entry}---\n")


def published(folder, name):
    """Columns and layout of each data set's own files, a row or two of each."""
    if name == "math":
        for subject in DATA_SETS["math"].configs:
            row = {"problem": "What is 1+1?", "level": "Level 1", "type": subject, "solution": r"It is $\boxed{2}$."}
            publish(folder, f"{subject}/test-00000-of-00001.parquet", [row], subject)
    elif name == "math500":
        row = {"problem": "What is 1+1?", "solution": "", "answer": "2", "subject": "Algebra", "level": 1}
        publish(folder, "test.jsonl", [row | {"unique_id": "test/algebra/1.json"}])
    elif name == "gsm8k":
        row = {"question": "What is 1+1?", "answer": "1+1 = <<1+1=2>>2\n#### 2"}
        publish(folder, "main/test-00000-of-00001.parquet", [row], "main")
        publish(folder, "socratic/test-00000-of-00001.parquet", [row, row], "socratic")
    elif name == "college_math":
        row = {
            "data_source": "college_math.algebra",
            "question_number": "1",
            "question": "What is 1+1?",
            "answer": "$2$",
        }
        publish(folder, "college-math-test.jsonl", [row])
    else:
        row = {"id": 1, "question": "What is 1+1?", "solution": [""], "final_answer": ["$2$"], "context": None}
        path = "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"
        publish(folder, path, [row, row | {"final_answer": ["2", "3"]}], "OE_TO_maths_en_COMP", "train")


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_published_data_sets_are_read_in_their_own_layout(engine, run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    published(tmp_path / "local", name)
    rows = stored(run("--n 1", data=f"{name}={tmp_path}/local"))
    assert len(rows) == {"math": 7, "olympiadbench": 2}.get(name, 1)
    assert rows[0]["problem"] == "What is 1+1?" and rows[0]["sampled"][0]["correct"]
    assert [row["label"] for row in rows[1:]] == (["2, 3"] if name == "olympiadbench" else [rows[0]["label"]] * 6)[
        : len(rows) - 1
    ]


def test_an_empty_stop_text_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_args(["--model", "m", "--data", "d", "--out", "o", "--stop", "a", ""], "")
    assert "--stop has an empty text, which ends nothing; leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--k 8 --n 4", "--k 8 must lie between 1 and --n 4: pass@k is never extrapolated; raise --n"),
        ("--k 0", "--k 0 must be at least 1"),
        ("--temperature nan", "--temperature must be above 0 (greedy responses are --greedy_runs)"),
        ("--temperature inf", "--temperature must be above 0 (greedy responses are --greedy_runs)"),
        ('--engine_args {{"seed":1}}', "--engine_args sets seed, which is --seed; give that flag"),
        ("--n 0 --greedy_runs 0", "--n 0 and --greedy_runs 0 leave nothing to evaluate"),
        ("--n -1", "--n -1 must be at least 0"),
        ("--temperature 0", "--temperature must be above 0 (greedy responses are --greedy_runs)"),
        ("--workers 0", "--workers 0 must be at least 1"),
        ("--engine_args []", "--engine_args must be a JSON object"),
        ("--data a.jsonl a.jsonl", "--data names a.jsonl twice"),
        ("--prompt eurus", "--prompt eurus needs --system_prompt FILE"),
        ("--system_prompt /no/such.md", "--system_prompt /no/such.md cannot be read"),
        ("--system_prompt {tmp}/data.jsonl --prompt alpaca", "--system_prompt needs a chat template"),
        ("--system_prompt {tmp}/data.jsonl --input_template Q:{{}}", "--system_prompt does not go with --input_temp"),
        (
            "--prompt own",
            "--prompt own is the prompt of a published checkpoint, and --model {model} is none of StepDPO-HF",
        ),
        ("--model PRIME-EURUS-7B --prompt own", "--prompt eurus needs --system_prompt FILE"),
        (
            "--model StepDPO-HF={tmp}/none",
            "--model {tmp}/none is neither the folder of a Hugging Face model nor the name",
        ),
        ("--prompt cot", "argument --prompt: invalid choice: 'cot'"),
        ("--data gsm8 ", "--data gsm8: there is no such file; data sets with a name are math, math500, gsm8k, "),
        ("--data {tmp}/empty.jsonl", "{tmp}/empty.jsonl has no rows"),
        ("--data {tmp}/torn.jsonl", "{tmp}/torn.jsonl, line 2 is not JSON"),
        (
            "--data {tmp}/half.jsonl",
            "{tmp}/half.jsonl, line 1: the value of 'label' (--label_key) holds half a surrogate",
        ),
        ("--label_key answer", "{tmp}/data.jsonl, line 1: the key 'answer' (--label_key) is missing; there is input,"),
        ("--data gsm8k={tmp}/gone", "--data gsm8k={tmp}/gone: there is no such folder"),
        ("--data gsm8k={tmp}", "--data gsm8k: {tmp} (split test) cannot be loaded ("),
        ("--model {tmp}/none", "--model {tmp}/none is neither the folder of a Hugging Face model nor the name of one"),
        ("--model {tmp}", "--model {tmp}: the folder holds no weights (*.safetensors); give the folder of a model"),
        (
            "--model {bare}",
            "--prompt chat needs a chat template and the tokenizer of --model {bare} has none; add one",
        ),
        ("--marge.reward nope", "--marge.reward is 'nope'; it must be one of math, countdown, or another name"),
        ("--max_len 513", "--max_len 513 is more than the 512 positions of --model {model}; lower it"),
        ("--max_len 4", "--data {tmp}/data.jsonl: the shortest prompt has 12 tokens; raise --max_len 4"),
        ("--max_len 12", "--data {tmp}/data.jsonl: the shortest prompt has 12 tokens; raise --max_len 12"),
        ("--out {tmp}", "--out {tmp} is a folder; name a file"),
        ("--out {tmp}/data.jsonl", "--out {tmp}/data.jsonl is a file that is read, {tmp}/data.jsonl, which it would"),
        ("--out {tmp}/data.jsonl/result.json", "--out {tmp}/data.jsonl/result.json cannot be written: "),
    ],
)
def test_bad_input_is_a_sentence_before_the_engine_starts(engine, task, tmp_path, data, capsys, flags, sentence):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "torn.jsonl").write_text(json.dumps(PROBLEMS[0]) + '\n{"input": ')
    (tmp_path / "half.jsonl").write_text(json.dumps({"input": "1+1?", "label": "\ud83d"}))
    places = {"tmp": tmp_path, "model": task.folder / "model", "bare": tmp_path / "bare"}
    shutil.copytree(places["model"], places["bare"])
    (places["bare"] / "chat_template.jinja").unlink()
    command = f"--model {{model}} --data {{tmp}}/data.jsonl --out {{tmp}}/result.json --max_len 128 {flags}"
    try:
        status = evaluate.main(command.format(**places).split())
    except SystemExit as e:
        status = e.code
    assert (status, engine.started) == (2, [])
    assert sentence.format(**places) in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("warm_commands")
def test_with_vllm(task, tmp_path):
    """Two data sets in one engine, resumed with what vLLM sampled."""
    (tmp_path / "more.jsonl").write_text(json.dumps(PROBLEMS[0]) + "\n")
    flags = f"""--model {task.folder}/model --data {task.folder}/heldout.jsonl {tmp_path}/more.jsonl
        --out {tmp_path}/result.json --n 4 --k 4 --greedy_runs 2 --max_len 64 --batch_size 3 --response_prefix step"""
    command = [sys.executable, "-m", "openrlhf_marge.cli.evaluate", *flags.split()]
    done = warm_run(command)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Evaluate: 100%" in done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    rows = [stored(of_data) for of_data in result.values()]
    assert [len(of_data) for of_data in rows] == [4, 1]
    for row in itertools.chain(*rows):
        assert (len(row["sampled"]), len(row["greedy"])) == (4, 2)
        assert row["greedy"][0] == row["greedy"][1]
        assert all(r["text"].startswith("Let's think step by step.\n\nStep 1:") for r in row["sampled"])
        assert len({r["text"] for r in row["sampled"]}) > 1
    responses = [r for row in rows[0] for r in row["sampled"]]
    assert result[f"{task.folder}/heldout.jsonl"]["truncated"] == sum(r["truncated"] for r in responses) / 16 > 0


def test_verdicts_of_another_grader_are_no_verdicts_of_this_one(tmp_path, monkeypatch, install_reward):
    """The responses are kept under the version of what graded them, the math grader or a reward's own file."""
    install_reward("words", "def reward(response, label): return 1.0")
    math, own = tasks.grader_version("math"), tasks.grader_version("words")
    assert len({math, own, tasks.grader_version("countdown")}) == 3
    install_reward("parts", "import functools\nreward = functools.partial(lambda response, label, x: x, x=1.0)")
    install_reward("object", "class R:\n    def __call__(self, response, label): return 1.0\nreward = R()")
    install_reward("compiled", "from operator import eq as reward")
    assert len({own, *(tasks.grader_version(name) for name in ("parts", "object", "compiled"))}) == 4
    changed = tmp_path / "grading"
    shutil.copytree(
        Path(openrlhf_marge.grading.__file__).parent, changed, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(openrlhf_marge.grading, "__file__", str(changed / "__init__.py"))
    tasks.grader_version.cache_clear()
    assert tasks.grader_version("math") == math
    (changed / "numbers.py").write_text("# other")
    tasks.grader_version.cache_clear()
    assert tasks.grader_version("math") != math


def test_other_gold_answers_are_graded_anew(engine, run, data):
    first = run("--n 2")
    data.write_text("".join(json.dumps(row | {"label": "-5"}) + "\n" for row in PROBLEMS))
    again = run("--n 2")
    assert first["pass@1"] > 0 == again["pass@1"] and {row["label"] for row in stored(again)} == {"-5"}


def test_half_a_reward_is_no_correct_response(engine, run, install_reward):
    install_reward("half", "def reward(response, label): return 0.5")
    assert run("--marge.reward half")["pass@1"] == 0.0


def test_a_folder_of_files_without_the_hubs_card_is_read_as_it_lies(tmp_path, monkeypatch):
    """The configuration that is read of several, one by its folder, or all subjects; one that is missing."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("gsm8k", "math"):
        published(tmp_path / name, name)
        (tmp_path / name / "README.md").unlink()
    assert len(list(published_rows("gsm8k", DATA_SETS["gsm8k"], str(tmp_path / "gsm8k")))) == 1  # not socratic's, too
    assert len(list(published_rows("gsm8k", DATA_SETS["gsm8k"], str(tmp_path / "gsm8k" / "socratic")))) == 2
    assert len(list(published_rows("math", DATA_SETS["math"], str(tmp_path / "math")))) == 7
    shutil.rmtree(tmp_path / "math" / "algebra")
    with pytest.raises(ValueError, match=r"--data math=.*: there is no folder .*algebra, and others of its kind are"):
        list(published_rows("math", DATA_SETS["math"], str(tmp_path / "math")))
