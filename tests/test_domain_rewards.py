"""Rewards of other domains: from an installed package's entry point to OpenRLHF's reward function."""

import runpy
from pathlib import Path

import pytest

from openrlhf_marge import MargeConfig
from openrlhf_marge.rewards.domains import BadReward, domain_reward

CODE = """
calls = []
def reward(response, label):
    calls.append((response, label))
    return float(label in response)
"""
ODD = """
def reward(response, label):
    if response == "raise":
        raise KeyError("gone")
    return {"none": None, "nan": float("nan"), "high": 1.5, "low": -0.5, "text": "x", "true": True, "one": 1}[response]
"""


@pytest.fixture
def host():
    pytest.importorskip("torch")
    from openrlhf_marge.host import domain_rewards

    return domain_rewards


def test_an_installed_reward_is_found_by_its_name(install_reward):
    install_reward("code", CODE)
    assert MargeConfig(reward="code").reward == "code"
    assert domain_reward("code", "return 7", "7") == 1.0


def test_an_unknown_name_is_refused_with_the_known_ones(install_reward):
    install_reward("code", CODE)
    with pytest.raises(
        ValueError, match=r"--marge.reward is 'cod'; it must be one of math, countdown, code, or another"
    ):
        MargeConfig(reward="cod")


def test_what_is_no_function_is_refused(install_reward):
    install_reward("number", "reward = 1.0")
    with pytest.raises(ValueError, match=r"--marge.reward number \(number_rewards:reward\) is no function"):
        MargeConfig(reward="number")


@pytest.mark.parametrize(
    ("response", "returned"),
    [("none", "None"), ("nan", "nan"), ("high", "1.5"), ("low", "-0.5"), ("text", "'x'")],
)
def test_what_is_no_reward_is_an_error_and_never_a_zero(install_reward, host, response, returned):
    install_reward("odd", ODD)
    with pytest.raises(BadReward, match=f"--marge.reward odd returned {returned}; it must return a number in"):
        host.reward_func_of("odd")([f"Q {response}"], ["Q "], ["1"])


def test_what_it_raises_is_told_with_its_name(install_reward):
    install_reward("odd", ODD)
    with pytest.raises(RuntimeError, match=r"--marge.reward odd raised KeyError: 'gone'"):
        domain_reward("odd", "raise", "1")
    assert domain_reward("odd", "true", "1") == domain_reward("odd", "one", "1") == 1.0


def test_the_reward_function_has_one_number_per_query_and_hides_the_prompt(install_reward, host, tmp_path):
    install_reward("seen", CODE)
    path = host.write_reward_file(str(tmp_path / "checkpoints"), "seen")
    reward_func = runpy.run_path(path)["reward_func"]
    returned = reward_func(["is 7? no", "is 7? 7", "is 7? 8"], ["is 7?"] * 3, ["7", 7, "8"])
    assert returned["rewards"].tolist() == returned["scores"].tolist() == [0.0, 1.0, 1.0]
    assert returned["rewards"].dtype.is_floating_point and returned["extra_logs"] == {}
    import seen_rewards

    assert seen_rewards.calls == [(" no", "7"), (" 7", "7"), (" 8", "8")]
    with pytest.raises(ValueError, match="a label is empty"):
        reward_func(["is 7? no"], ["is 7?"], [None])


def test_a_name_of_any_letters_has_a_file(install_reward, host, tmp_path):
    path = host.write_reward_file(str(tmp_path), "../a b'c")
    assert path == str(tmp_path / "_marge" / "reward_.._a_b_c.py")
    assert """reward_func_of("../a b'c")""" in Path(path).read_text()
