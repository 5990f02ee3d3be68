"""The flags of a launch of train_ppo_ray, looked at with the model's tokenizer and the first rows of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from openrlhf_marge import REWARD_FILE
from openrlhf_marge.grading import grade_gold
from openrlhf_marge.host.doctor.findings import Finding, fault, ok, warning
from openrlhf_marge.host.launch.dataset_checks import check_datasets
from openrlhf_marge.host.launch.launch_check import parsed
from openrlhf_marge.host.launch.prompt_checks import BLANK, read_prompts
from openrlhf_marge.host.rollout import tokens

GOLD_ROWS, SHOWN = 1000, 3
TAIL = 60  # characters of the end of a prompt


def launch(flags: Sequence[str]) -> Iterator[Finding]:
    """What OpenRLHF and MARGE say of the flags; then tokenizer, prompts and gold answers."""
    try:
        args = parsed(flags)
    except ValueError as e:
        yield fault("the launch is refused", str(e))
        return
    yield ok("OpenRLHF and the experience maker take the flags")
    try:
        rows = check_datasets(args)
    except ValueError as e:
        yield fault("the data cannot be used", str(e))
        return
    try:
        tokenizer = tokens.load_tokenizer(args)
    except (OSError, ValueError) as e:
        yield fault(f"the tokenizer of {args.actor.model_name_or_path} cannot be loaded", str(e))
    else:
        yield from prompts(args, rows, tokenizer)
    if hasattr(args, "marge") and REWARD_FILE in args.reward.remote_url:
        labels = rows.select(range(min(len(rows), GOLD_ROWS)))[args.data.label_key]
        yield gold_answers([str(label) for label in labels])


def prompts(args: Any, rows: Any, tokenizer: Any) -> Iterator[Finding]:
    """How the tokenizer treats s_0, and whether the first prompt ends as the model's chat template does."""
    if hasattr(args, "marge"):
        try:
            tokens.s0_token_ids(tokenizer, args.marge)
        except ValueError as e:
            yield fault("the tokenizer does not give s_0 back", str(e))
        else:
            yield ok(f"the tokenizer gives {tokens.s0_text(args.marge)!r} back")
    try:
        prompt = read_prompts(args, rows.select([0]), tokenizer).prompts[0]
    except (ValueError, KeyError, IndexError) as e:  # of a template that does not go with the rows, or is not there
        yield fault("no prompt can be made of the first row", f"{type(e).__name__}: {e}")
        return
    yield end_of_prompt(prompt, opening(tokenizer))
    if bos := tokens.missing_bos(tokenizer, prompt):
        mend = "write it at the begin of --data.input_template, or of the prompts in the data"
        yield warning(f"prompts lack the {bos!r} that the tokenizer puts before a text and OpenRLHF does not", mend)
    if not args.data.apply_chat_template and tokens.needs_blank_after_bos(tokenizer, prompt):
        yield warning(BLANK.format(tokenizer.bos_token), "write one in --data.input_template")


def opening(tokenizer: Any) -> str:
    """What the chat template puts before an answer; nothing where there is no template."""
    if not tokenizer.chat_template:
        return ""
    message = [{"role": "user", "content": "?"}]
    asked, told = (
        tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=answer)
        for answer in (True, False)
    )
    return asked.removeprefix(told)


def end_of_prompt(prompt: str, opening: str) -> Finding:
    """Whether a prompt ends with what the chat template opens an answer with."""
    if opening and not prompt.rstrip().endswith(opening.strip()):
        mend = "give --data.apply_chat_template, unless the model is a pretrained one"
        return warning(
            f"the model's chat template opens an answer with {opening!r}, and prompts end with {prompt[-TAIL:]!r}",
            mend,
        )
    return ok(f"prompts end with {prompt[-TAIL:]!r}")


def gold_answers(labels: Sequence[str]) -> Finding:
    """Whether the grader takes the gold answers for correct when a response gives them."""
    refused = [(row, label) for row, label in enumerate(labels, start=1) if not grade_gold(label).correct]
    if refused:
        shown = ", ".join(f"row {row}: {label[:TAIL]!r}" for row, label in refused[:SHOWN])
        mend = "look at --data.label_key; python -m openrlhf_marge.cli.grade FILE --check_gold lists them"
        return warning(
            f"the grader cannot read {len(refused)} of the first {len(labels)} gold answers ({shown})", mend
        )
    return ok(f"the grader reads the first {len(labels)} gold answers")
