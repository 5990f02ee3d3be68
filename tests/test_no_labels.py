"""Guidance without step labels: counted in every iteration, said where most have none."""

import asyncio

from openrlhf_marge.method.metrics import exploration_metrics
from openrlhf_marge.method.no_labels import without_labels

from factories import EOS, ScriptedModel, completion, explorer, letters, problem, text_ids

LABELLED, BARE = "A\nStep 2: B", "First, A. Then B." + "." * 300


def explored(texts: list[str], **config) -> tuple[float, str | None]:
    """The metric and the sentence, problem i being solved by text i."""

    def answer(of, prefix_ids, n):
        return [completion(1.0 if i else 0.0, ids=(*text_ids(texts[int(of.id)] + str(i)), EOS)) for i in range(n)]

    flags = {"split": "step", "n_states": 2, "n_candidates": 2, "guidance_threshold": 1.0} | config
    chain = explorer(ScriptedModel(answer), s0_ids=text_ids("Step 1:"), n=2, **flags)

    async def explore():
        return await asyncio.gather(*(chain.explore(problem(str(i), room=1000)) for i in range(len(texts))))

    found = asyncio.run(explore())
    sentence = without_labels(found, chain.config, lambda ids: "".join(letters(ids)))
    return exploration_metrics(found)["marge/guidance_without_labels"], sentence


def test_guidances_cut_by_tokens_for_want_of_a_label_are_counted():
    assert explored([LABELLED, LABELLED, LABELLED]) == (0.0, None)
    assert explored([LABELLED, BARE, LABELLED, BARE]) == (2.0, None)


def test_where_most_have_no_label_it_is_said_with_flag_and_example():
    assert explored([BARE, BARE, LABELLED]) == (
        2.0,
        "2 of 3 guidances have nothing that --marge.split step cuts at, so they are cut by tokens. The model writes, "
        f"for example, {BARE[:200]!r}; set --marge.step_label 'Step \\\\d+:' to how its steps begin.",
    )


def test_cuts_that_were_asked_for_by_tokens_are_not_counted():
    assert explored([BARE, BARE], split="tokens", cot_prefix="") == (0.0, None)


def test_vanilla_exploration_has_no_guidance_that_could_lack_a_label():
    assert explored([BARE, BARE], explore="vanilla") == (0.0, None)
