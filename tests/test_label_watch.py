"""Guidance without step labels: counted in every iteration, said in the first."""

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from openrlhf_marge.host import label_watch
from openrlhf_marge.host.label_watch import LabelWatch
from openrlhf_marge.metrics import exploration_metrics

from factories import EOS, ScriptedModel, completion, explorer, letters, problem, text_ids

LETTERS = SimpleNamespace(decode=lambda ids, **_: "".join(letters(ids)))
LABELLED, BARE = "A\nStep 2: B", "First, A. Then B." + "." * 300


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(label_watch.logger, "warning", lines.append)
    return lines


def iterations(texts: list[str], n_iterations: int = 1, **config) -> list[dict[str, float]]:
    """Metrics of each; problem i is always solved by text i."""

    def answer(of, prefix_ids, n):
        return [completion(1.0 if i else 0.0, ids=(*text_ids(texts[int(of.id)] + str(i)), EOS)) for i in range(n)]

    flags = {"split": "step", "n_states": 2, "n_candidates": 2, "guidance_threshold": 1.0} | config
    chain = explorer(ScriptedModel(answer), s0_ids=text_ids("Step 1:"), n=2, **flags)
    watch = LabelWatch(chain, LETTERS, len(texts))

    async def explore():
        return await asyncio.gather(*(watch.explore(problem(str(i), room=1000)) for i in range(len(texts))))

    return [exploration_metrics(asyncio.run(explore())) for _ in range(n_iterations)]


def test_guidances_cut_by_tokens_for_want_of_a_label_are_counted(said):
    assert [m["marge/guidance_without_labels"] for m in iterations([LABELLED, BARE, LABELLED], 2)] == [1.0, 1.0]
    assert said == []


def test_where_most_have_no_label_it_is_said_once_with_flag_and_example(said):
    assert [m["marge/guidance_without_labels"] for m in iterations([BARE, BARE, LABELLED], 3)] == [2.0] * 3
    assert said == [
        "[marge] 2 of the first 3 guidances have nothing that --marge.split step cuts at, so they are cut by tokens; "
        f"the model writes, for example, {(BARE + '1')[:200]!r}; set --marge.step_label 'Step \\\\d+:' to how its "
        "steps begin"
    ]


def test_cuts_that_were_asked_for_by_tokens_are_not_counted(said):
    (metrics,) = iterations([BARE, BARE], split="tokens", cot_prefix="")
    assert metrics["marge/guidance_without_labels"] == 0.0 and said == []


def test_vanilla_exploration_has_no_guidance_that_could_lack_a_label(said):
    (metrics,) = iterations([BARE, BARE], explore="vanilla")
    assert metrics["marge/guidance_without_labels"] == 0.0 and said == []
