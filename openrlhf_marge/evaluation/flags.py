"""The flags of ``evaluate``."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from openrlhf_marge.evaluation import DATA_SETS, PROMPTS, check_input_template, choose_prompt
from openrlhf_marge.evaluation.checkpoints import CHECKPOINTS, OWN, located, own_prompt
from openrlhf_marge.evaluation.results import SAME_NAME, data_name
from openrlhf_marge.method.config import MargeConfig
from openrlhf_marge.rewards.domains import MATH
from openrlhf_marge.rewards.workers import add_workers, check_workers

DEFAULT_KS = (1, 8)
STEP_PREFIX = next(f.default for f in fields(MargeConfig) if f.name == "cot_prefix")
ENGINE_ARGS = "--engine_args must be a JSON object, such as '{\"tensor_parallel_size\": 2}'"
OWN_FLAGS = {"model": "model", "seed": "seed", "max_model_len": "max_len"}  # argument of vllm.LLM -> flag
LOWEST = {"n": 0, "greedy_runs": 0, "max_len": 2, "batch_size": 1}


def parse_args(argv: list[str] | None, description: str) -> argparse.Namespace:
    """The flags as they are meant: ``k`` sorted, with 1; ``response_prefix`` a text; a checkpoint's name as its place.

    Ends with a sentence if bad.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_inputs(parser)
    _add_sampling(parser)
    add_workers(parser)
    args = parser.parse_args(argv)
    check_workers(parser, args.workers)
    _check(parser, args)
    args.k = sorted({1, *(args.k or [k for k in DEFAULT_KS if k <= args.n])})
    args.response_prefix = STEP_PREFIX if args.response_prefix == "step" else args.response_prefix
    args.model = located(args.model)
    return args


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, help=f"folder of a model, its name on the hub, or {', '.join(CHECKPOINTS)}")
    add("--data", required=True, nargs="+", help=f"{', '.join(DATA_SETS)}, NAME=FOLDER, or files")
    add("--input_key", default="input", help="column of the problem in files [%(default)s]")
    add("--label_key", default="label", help="column of the gold answer in files [%(default)s]")
    add("--out", type=Path, required=True, help="JSON file to write")
    add(
        "--prompt",
        choices=(*PROMPTS, OWN),
        default="chat",
        help="chat: the chat template alone, as in training; chat_boxed, alpaca: with the paper's sentence (App. E); "
        "auto: one of these two by model; qwen25_math, qwen2_boxed, eurus: what these models were trained with; own: "
        "that of the checkpoint that --model names [%(default)s]",
    )
    add("--system_prompt", metavar="FILE", help="text file with what the system says, in place of the prompt's [none]")
    add("--input_template", help="a run's --data.input_template, which takes the place of --prompt [none]")
    add(
        "--response_prefix",
        default="",
        help="what every response starts with: a text, or 'step' for the default of --marge.cot_prefix, with which "
        "step mode trains [none]",
    )
    add("--marge.reward", dest="reward", default=MATH, help="what grades the responses, as in training [%(default)s]")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as e:
        raise argparse.ArgumentTypeError(ENGINE_ARGS) from e


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--stop", nargs="+", help="texts at which a response ends, without them; a run's --marge.stop [none]")
    add("--n", type=int, default=16, help="responses sampled per problem, 0 for none [%(default)s]")
    add("--k", type=int, nargs="+", help="the k of pass@k and maj@k, at most n [1 8]")
    add("--greedy_runs", type=int, default=1, help="greedy responses per problem; 3 in the paper [%(default)s]")
    add("--temperature", type=float, default=0.8, help="sampling temperature [%(default)s]")
    add("--top_p", type=float, default=0.95, help="nucleus [%(default)s]")
    add("--max_len", type=int, default=2048, help="tokens of prompt and response [%(default)s]")
    add("--seed", type=int, default=0, help="seed of the engine [%(default)s]")
    add("--batch_size", type=int, default=256, help="problems sampled, then written, at once [%(default)s]")
    add("--engine_args", type=_json, default={}, help="JSON object of further arguments of vllm.LLM")


def _system_prompt(parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """The text of the file, without the line break at its end."""
    if args.input_template:
        parser.error("--system_prompt does not go with --input_template, which is the whole prompt; leave one out")
    try:
        text = Path(args.system_prompt).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as e:
        parser.error(f"--system_prompt {args.system_prompt} cannot be read: {e}")
    if not text:
        parser.error(f"--system_prompt {args.system_prompt} is empty; leave it out")
    return text


def _check_prompt(args: argparse.Namespace) -> None:
    """ValueError for a prompt that no model can be given so, which would else be seen once the model is there."""
    if args.input_template:
        check_input_template("--input_template", args.input_template)
        return
    args.prompt = own_prompt(args.model) if args.prompt == OWN else args.prompt
    choose_prompt(args.prompt, args.model, has_chat_template=True, system=args.system_prompt)


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for name, lowest in LOWEST.items():
        if (value := getattr(args, name)) < lowest:
            parser.error(f"--{name} {value} must be at least {lowest}")
    if not args.n and not args.greedy_runs:
        parser.error("--n 0 and --greedy_runs 0 leave nothing to evaluate; raise one of them")
    for k in args.k or ():
        if k < 1:
            parser.error(f"--k {k} must be at least 1")
        if k > args.n:
            parser.error(f"--k {k} must lie between 1 and --n {args.n}: pass@k is never extrapolated; raise --n")
    if not 0 < args.temperature < math.inf or not 0 < args.top_p <= 1:
        parser.error("--temperature must be above 0 (greedy responses are --greedy_runs), --top_p in (0, 1]")
    if not isinstance(args.engine_args, dict):
        parser.error(ENGINE_ARGS)
    for name, flag in OWN_FLAGS.items():
        if name in args.engine_args:
            parser.error(f"--engine_args sets {name}, which is --{flag}; give that flag")
    if "" in (args.stop or ()):
        parser.error("--stop has an empty text, which ends nothing; leave it out")
    if args.system_prompt is not None:
        args.system_prompt = _system_prompt(parser, args)
    try:
        _check_prompt(args)
    except ValueError as e:
        parser.error(str(e))
    if doubled := {data for data in args.data if args.data.count(data) > 1}:
        parser.error(f"--data names {', '.join(doubled)} twice; leave one out")
    if len({data_name(data) for data in args.data}) < len(args.data):
        parser.error(f"--data {SAME_NAME}; rename one, or evaluate it with another --out")
