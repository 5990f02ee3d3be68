"""EXTENDING.md: its examples are installed as it says and really used."""

import asyncio
import dataclasses
import json
import random
import re
from pathlib import Path

import msgspec
import pytest

import openrlhf_marge
from openrlhf_marge import MargeConfig, group_advantages, pick_guidance, split_into_states
from openrlhf_marge.cli.build_pairs import main
from openrlhf_marge.entry_points import load_installed
from openrlhf_marge.method.advantages import ADVANTAGES
from openrlhf_marge.method.explorations import EXPLORATIONS
from openrlhf_marge.method.explorations.traits import Traits
from openrlhf_marge.method.guidance_rules import GUIDANCE_RULES
from openrlhf_marge.method.splitters import SPLITTERS
from openrlhf_marge.method.visit import Visit
from openrlhf_marge.pairs import BUILDERS
from openrlhf_marge.rewards.domains import REWARDS, domain_reward

from factories import (
    EOS,
    ScriptedModel,
    completion,
    distribution,
    explorer,
    guidance,
    letters,
    problem,
    text_ids,
)  # fmt: skip

PAGE = (Path(openrlhf_marge.__file__).parent / "EXTENDING.md").read_text()
(PROJECT,) = (msgspec.toml.decode(block) for block in re.findall(r"```toml\n(.+?)```", PAGE, re.DOTALL))
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\n(.+?)```", PAGE, re.DOTALL))
GROUPS = PROJECT["project"]["entry-points"]
REGISTRIES = [SPLITTERS, REWARDS, GUIDANCE_RULES, EXPLORATIONS, ADVANTAGES, BUILDERS]


@pytest.fixture(autouse=True)
def my_marge(tmp_path, monkeypatch):
    """The page's package, installed."""
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in GROUPS.items()]
    distribution(tmp_path, "my_marge", EXAMPLES, "\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    load_installed.cache_clear()
    yield
    load_installed.cache_clear()


def test_the_page_has_every_registry_with_its_flag_and_an_example():
    assert {registry.group for registry in REGISTRIES} == set(GROUPS)
    rows = dict(re.findall(r"\| `(--[a-z_.]+)`.* \| `(openrlhf_marge\.\w+)` \|", PAGE))
    assert rows == {registry.flag: registry.group for registry in REGISTRIES}
    modules = [target.split(":")[0] for names in GROUPS.values() for target in names.values()]
    assert [f"{module.replace('.', '/')}.py" for module in modules] == [p for p in EXAMPLES]


def test_a_visit_offers_what_the_page_says():
    offered = set(dir(Visit)) | {f.name for f in dataclasses.fields(Visit)}
    assert set(re.findall(r"\bvisit\.([a-z_0-9]+)", PAGE)) - offered == {"py"}  # the file's name


def test_the_flags_take_the_names_beside_the_packages_own():
    config = MargeConfig(
        split="sentences", reward="words", guidance_rule="gentle", explore="descend", advantage="median"
    )
    assert config.explore == "descend"
    with pytest.raises(
        ValueError,
        match=r"--marge.explore is 'ascend'; it must be one of guided, .*, mcts_dpo, descend, unsure, or ",
    ):
        MargeConfig(explore="ascend")


def test_the_splitter():
    config, guide = MargeConfig(split="sentences"), guidance(text_ids("So. Then 1.5.\nAh"))
    states = split_into_states(problem(), [guide], (), config, letters)
    assert ["".join(letters(s.prefix_ids)) for s in states] == [
        "", "So.", "So. Then 1.", "So. Then 1.5.", "So. Then 1.5.\n",
    ]  # fmt: skip


def test_the_reward():
    assert domain_reward("words", "a blue house", "The blue House stands") == 0.5


def test_the_guidance_rule():
    def verdicts(rewards):
        completions = [completion(r, ids=(100 + i, EOS)) for i, r in enumerate(rewards)]
        config, eos = MargeConfig(guidance_rule="gentle"), frozenset({EOS})
        return {pick_guidance(completions, (), eos, config, random.Random(s))[0].is_correct for s in range(30)}

    assert verdicts((1, 1, 0)) == {True, False}
    assert verdicts((0, 1, 0)) == {True}


def test_the_exploration():
    """All completions are correct from 4 of 6 tokens on: the state there is the last one."""

    def script(_problem, prefix_ids, n):
        right = [1.0] * n if len(prefix_ids) > 3 else [float(i % 2) for i in range(n)]
        return [completion(r, ids=(*range(20 + i, 26 + i - len(prefix_ids)), EOS)) for i, r in enumerate(right)]

    model = ScriptedModel(script)
    chain = explorer(model, explore="descend", n_states=6)
    (first, second) = (asyncio.run(chain.explore(problem())) for _ in range(2))
    for exploration in (first, second):
        assert [len(g.state.prefix_ids) for g in exploration.groups] == [0, 1, 2, 3, 4]
        assert [g.value for g in exploration.groups] == [0.5, 0.5, 0.5, 0.5, 1.0]
        assert exploration.groups[-1].value_gain == 0.5 and exploration.guidance_age == 0
    assert len(set(model.seeds)) == 10 and len(model.calls) == 10


def test_the_exploration_that_weighs_tokens_says_so():
    config = MargeConfig(explore="unsure")
    assert config.needs_log_probs and config.scheduled_states == 1 and not config.asks_the_model
    with pytest.raises(ValueError, match=r"--marge.explore unsure has its own advantages and states; .*--marge.adv"):
        MargeConfig(explore="unsure", advantage="mean")
    plain = MargeConfig(explore="descend", advantage="mean")
    assert not plain.needs_log_probs and plain.scheduled_states == MargeConfig().scheduled_states

    def script(_problem, _prefix, _n):
        likely, unlikely = (-0.2, -0.25, -0.1), (-0.3, -0.2, -0.2)  # log 0.8 is -0.223
        return [
            completion(1.0, ids=(5, 6, EOS), log_probs=likely),
            completion(0.0, ids=(7, 6, EOS), log_probs=unlikely),
        ]

    (group,) = asyncio.run(explorer(ScriptedModel(script), n=2, explore="unsure").explore(problem())).groups
    assert [c.advantages for c in group.completions] == [(None, 0.5, None), (-0.5, None, None)]


def test_the_table_has_every_trait():
    traits = PAGE.split("| trait |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)=", traits, re.MULTILINE) == [f.name for f in dataclasses.fields(Traits)]


def test_the_advantage():
    assert group_advantages([0.0, 0.25, 1.0, 1.0], [1, 1, 1, 2], "median") == [-0.25, 0.0, 0.75, 0.0]


def test_the_pair_builder(tmp_path, capsys):
    pytest.importorskip("openrlhf", reason="scripted dumps take its encoding")
    from scripted_dumps import completion as worded
    from scripted_dumps import mixed, save_model, visit, write_dump

    long = worded(" 7+1=8 and so it is. \n\nThe answer is: \\boxed{9}.")
    groups = visit([mixed(2, 2), [*mixed(1, 2), long], mixed(0, 3)])
    folder, out = write_dump(tmp_path / "dump", groups), tmp_path / "rows.jsonl"
    flags = [str(folder), "--kind", "concise", "--model", save_model(tmp_path / "model"), "--out", str(out)]
    assert main(flags) == 0
    assert "2 states without correct completions of two lengths" in capsys.readouterr().out
    (row,) = map(json.loads, out.read_text().splitlines())
    assert len(row["chosen"]) < len(row["rejected"]) and "and so it is" in row["rejected"]
