import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from openrlhf_marge import MargeConfig
from openrlhf_marge.method.arguments import add_arguments, from_namespace


def parse(*flags: str) -> MargeConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    values = vars(parser.parse_args(flags))
    return from_namespace(argparse.Namespace(**{key.removeprefix("marge."): v for key, v in values.items()}))


def test_no_flag_gives_the_defaults():
    assert parse() == MargeConfig()


def test_defaults_are_the_papers():
    config = MargeConfig()
    assert (config.n_candidates, config.guidance_threshold, config.n_states) == (32, 0.5, 5)  # Sec. 4.1, 3.3, App. B.1
    assert config.cot_prefix == "Let's think step by step.\n\nStep 1:"  # App. E
    assert (config.split, config.reference) == ("step", "iteration")


def test_flags_arrive_with_their_types():
    config = parse("--marge.n_candidates", "24", "--marge.guidance_threshold", "0.6", "--marge.expected_states", "9.1")
    assert (config.n_candidates, config.guidance_threshold, config.expected_states) == (24, 0.6, 9.1)


def test_stop_takes_several_texts():
    assert parse("--marge.stop", "\n\nQuestion:", "Q:").stop == ("\n\nQuestion:", "Q:")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--marge.n_candidates", "0"), "--marge.n_candidates is 0; it must be at least 1"),
        (("--marge.guidance_threshold", "1.5"), "--marge.guidance_threshold is 1.5; it must be at most 1"),
        (("--marge.guidance_threshold", "nan"), "--marge.guidance_threshold is nan; it must be at least 0"),
        (("--marge.stop", "Question:", ""), "--marge.stop has an empty text"),
        (("--marge.split", "words"), "--marge.split is 'words'; it must be one of step, tokens"),
        (("--marge.step_label", "Step ("), "--marge.step_label 'Step \\(' is not a regular expression"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_the_flag(flags, message):
    with pytest.raises(ValueError, match=message):
        parse(*flags)


def flag_rows(page: str) -> dict[str, str]:
    """Field -> its default as the table of flags of a page has it."""
    lines = (Path(__file__).parents[1] / page).read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| `--marge.")]
    return {cells[1].strip(" `").removeprefix("--marge."): cells[2].strip(" `") for cells in rows}


def test_the_methods_page_has_every_flag():
    assert flag_rows("openrlhf_marge/method/README.md").keys() == {f.name for f in fields(MargeConfig)}


@pytest.mark.parametrize("page", ["README.md", "openrlhf_marge/method/README.md"])
def test_the_pages_have_the_defaults_of_their_flags(page):
    config, rows = MargeConfig(), flag_rows(page)
    assert rows
    for name in rows.keys() - {"expected_states"}:  # its default depends on other flags
        default = getattr(config, name)
        assert rows[name] == ("" if default in (None, ()) else str(default).replace("\n", "\\n")), name


def test_every_field_has_help():
    assert all(len(f.metadata["help"]) > 20 for f in fields(MargeConfig))


@pytest.mark.parametrize(
    ("config", "states"),
    [
        (dict(split="tokens", n_states=7), 7.0),
        (dict(split="step"), 4.42),  # Qwen2-7B-Instruct, App. B.1
        (dict(split="step", expected_states=9.08), 9.08),
    ],
)
def test_states_that_the_schedule_counts_on(config, states):
    assert MargeConfig(**config).scheduled_states == states


@pytest.mark.parametrize(
    ("option", "group", "is_no"),
    [
        ("split", "splitters", r"function \(ids, start, config, decode_pieces\) -> cuts"),
        ("reward", "rewards", r"function \(response, label\) -> float"),
        ("guidance_rule", "guidance_rules", "GuidanceRule; see method/guidance_rules.py"),
        ("explore", "explorations", r"function \(visit\) -> exploration"),
        ("advantage", "advantages", r"function \(rewards of a group\) -> advantages"),
    ],
)
def test_an_installed_object_of_the_wrong_kind_is_refused(install, option, group, is_no):
    install("seven", "value = 7", f"[openrlhf_marge.{group}]\nodd = seven:value\ngone = seven:gone\n")
    with pytest.raises(ValueError, match=rf"^--marge.{option} odd \(seven:value\) is no {is_no}$"):
        MargeConfig(**{option: "odd"})
    with pytest.raises(ValueError, match=rf"^--marge.{option} gone \(seven:gone\) does not load: AttributeError: "):
        MargeConfig(**{option: "gone"})


def test_a_rule_that_picks_once_does_not_go_with_fresh_guidance(install):
    body = "from openrlhf_marge.method.guidance_rules import *\n"
    body += "ONCE = GuidanceRule(wanted=lambda rate, threshold: (True,), picks_once=True)"
    install("once_rule", body, "[openrlhf_marge.guidance_rules]\nonce = once_rule:ONCE\n")
    with pytest.raises(ValueError, match=r"fresh picks at every visit, --marge\.guidance_rule once once$"):
        MargeConfig(guidance_rule="once", guidance_source="fresh")
