"""SPO-tree and TreeRL: what they sample, and advantages against an independent computation from the definitions."""

import asyncio
import math
import random
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlhf_marge import Completion, Exploration, MargeConfig
from openrlhf_marge.method.explorations.spo_tree import _drawn
from openrlhf_marge.method.group_queue import GroupQueue

from factories import EOS, ScriptedModel, completion, explorer, problem

S0 = (3,)


def sampled(seed: int, *, lengths=(1, 9), letters: int = 40, rate: float = 0.5):
    """A model whose tokens, log-probs and grades are drawn, so that responses sometimes share prefixes."""
    rng = random.Random(seed)

    def script(_, prefix, n):
        made = []
        for _ in range(n):
            ids = tuple(rng.randrange(10, 10 + letters) for _ in range(rng.randint(*lengths)))
            log_probs = tuple(math.log(rng.uniform(0.05, 1.0)) for _ in ids)
            right = rng.random() < rate
            made.append(Completion(token_ids=ids, reward=float(right), is_correct=right, log_probs=log_probs))
        return made

    return ScriptedModel(script)


def explored(model, **config) -> Exploration:
    return asyncio.run(explorer(model, s0_ids=S0, **config).explore(problem()))


def rows(exploration):
    """(prefix, completion) of all that was sampled."""
    return [(g.state.prefix_ids, c) for g in exploration.groups for c in g.completions]


# --- the definitions, over whole responses as sequences, without the package's tree ---


def spo_value(node, depth, branches, segment, levels):
    """Mean of the children's values, where a child ends a segment later or is a response's end."""
    passes = [(p, c) for p, c in branches if len(p) <= len(node) < len(p) + len(c.token_ids)]
    below = [(p, c) for p, c in passes if (p + c.token_ids)[: len(node)] == node]
    end = len(node) + segment
    children = []
    for prefix, c in below:
        path = prefix + c.token_ids
        if depth < levels - 1 and len(path) > end:
            children.append(spo_value(path[:end], depth + 1, branches, segment, levels))
        else:
            children.append(c.reward)
    return statistics.fmean(children)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    letters=st.sampled_from([1, 2, 30]),
    branches=st.sampled_from([(3,), (2, 3), (3, 2, 2)]),
)
def test_an_edge_of_spo_tree_is_the_childs_value_minus_the_nodes(seed, letters, branches):
    found = explored(
        sampled(seed, letters=letters), explore="spo_tree", spo_branches=branches, spo_segment=3, spo_sure=1.0,
        spo_edges=10**6,
    )  # fmt: skip
    all_rows, levels = rows(found), len(branches)
    for prefix, c in all_rows:
        path, start = prefix + c.token_ids, len(prefix)
        for place, advantage in enumerate(c.advantages, start):
            depth = (place - len(S0)) // 3
            depth = min(depth, levels - 1)
            node = path[: len(S0) + 3 * depth]
            end = len(node) + 3
            is_leaf = depth == levels - 1 or len(path) <= end
            after = c.reward if is_leaf else spo_value(path[:end], depth + 1, all_rows, 3, levels)
            expected = after - spo_value(node, depth, all_rows, 3, levels)
            assert (advantage or 0.0) == pytest.approx(expected, abs=1e-12)
            assert (advantage is None) == (abs(expected) < 1e-12)


def test_spo_trees_budget_and_that_the_sure_tokens_are_not_trained_on():
    model = sampled(0, lengths=(8, 9))
    found = explored(model, explore="spo_tree", spo_branches=(6, 6, 6), spo_segment=2)
    assert sum(n for _, _, n in model.calls) == 6 + 6 * 5 + 36 * 5  # 216 leaves
    assert found.groups[0].state.prefix_ids == S0 and len(found.groups) == 1 + 6 + 36
    trained = [(c, place) for g in found.groups for c in g.trained for place, a in enumerate(c.advantages) if a]
    assert trained and all(c.log_probs[place] < math.log(0.9) for c, place in trained)
    assert sum(len(g.completions) for g in found.groups) == 216 > sum(len(g.trained) for g in found.groups) > 0
    assert len({(id(c), c.advantages[place]) for c, place in trained}) <= 32


def test_a_token_at_the_bound_counts_as_sure():
    bound = math.log(MargeConfig().spo_sure)
    model = ScriptedModel(
        lambda *_: [completion(r, ids=(10 + i, 20), log_probs=(bound, bound - 1e-9)) for i, r in enumerate((1, 0))]
    )
    found = explored(model, explore="spo_tree", spo_branches=(2,))
    assert [c.advantages for c in found.groups[0].completions] == [(None, 0.5), (None, -0.5)]


def test_which_edges_are_trained_is_drawn_anew_for_every_problem_visit_and_seed():
    def drawn(number=0, name="p", seed=0):
        visit = SimpleNamespace(
            run_seed=seed, number=number, problem=problem(name), config=MargeConfig(explore="spo_tree", spo_edges=3)
        )
        return tuple(_drawn(visit, {edge: 1.0 for edge in range(30)}))

    assert drawn() == drawn() and len(drawn()) == 3
    others = [drawn(number=1), drawn(number=2), drawn(name="q"), drawn(seed=1)]
    assert len({drawn(), *others}) == 5


def test_one_level_of_spo_tree_is_vanilla_with_the_mean_as_baseline():
    found = explored(sampled(4), explore="spo_tree", spo_branches=(5,), spo_sure=1.0)
    ((group),) = found.groups
    for c in group.completions:
        assert c.advantages == pytest.approx([c.reward - group.value] * len(c.token_ids))


def test_siblings_in_units_of_their_deviation():
    model = ScriptedModel(
        lambda *_: [completion(r, ids=(10 + i,), log_probs=(-1.0,)) for i, r in enumerate((1, 0, 0, 0))]
    )
    found = explored(model, explore="spo_tree", spo_branches=(4,), spo_norm="grpo")
    assert [c.advantages[0] for c in found.groups[0].completions] == pytest.approx(
        [0.75 / math.sqrt(0.1875), *[-0.25 / math.sqrt(0.1875)] * 3]
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), letters=st.sampled_from([1, 2, 30]), keep=st.sampled_from([1, 4, 100]))
def test_tree_rls_steps_against_the_definition(seed, letters, keep):
    config = dict(explore="tree_rl", tree_chains=3, tree_forks=2, tree_branches=2, tree_keep=keep)
    found = explored(sampled(seed, letters=letters), **config)
    all_rows = rows(found)
    paths = [p + c.token_ids for p, c in all_rows]
    rewards = [c.reward for _, c in all_rows]
    over = [r - statistics.fmean(rewards[:i] + rewards[i + 1 :]) for i, r in enumerate(rewards)]
    forks = {p for p, _ in all_rows}

    def passes(leaf, node):  # whether the leaf's response goes on from this node
        return paths[leaf][: len(node)] == node and len(all_rows[leaf][0]) <= len(node) < len(paths[leaf])

    def below(node):  # leaves that are reached from a node, through what was sampled there
        return [
            leaf for leaf in range(len(paths)) if paths[leaf][: len(node)] == node and len(paths[leaf]) > len(node)
        ]

    kept = {row for row, (_, c) in enumerate(all_rows) if c.advantages[-1] is not None}
    assert len(kept) == min(keep, len(paths))
    for row, (prefix, c) in enumerate(all_rows):
        for place, advantage in enumerate(c.advantages, len(prefix)):
            node = max((f for f in forks if len(f) <= place and passes(row, f)), key=len)
            later = [f for f in forks if len(f) > place and passes(row, f)]
            leaves = below(min(later, key=len)) if later else [row]
            before = statistics.fmean(over[leaf] for leaf in below(node))
            after = statistics.fmean(over[leaf] for leaf in leaves)
            # The paper trains a path for each kept leaf, and on it each edge over the root of the paths that have it.
            of_paths = [(2 * after - before) / math.sqrt(len(kept & set(leaves))) for _ in kept & set(leaves)]
            assert advantage == (pytest.approx(sum(of_paths), abs=1e-12) if of_paths else None)


def test_a_tree_of_tree_rl_by_hand():
    """Two responses, a correct and a wrong one; the correct one forks after two tokens into two that are correct."""
    first = [
        completion(1.0, ids=(1, 2, 3), log_probs=(-1.0, -1.0, -2.0)),
        completion(0.0, ids=(9,), log_probs=(-1.0,)),
    ]
    forked = [completion(1.0, ids=(4,), log_probs=(-1.0,)), completion(1.0, ids=(5,), log_probs=(-1.0,))]
    model = ScriptedModel(lambda _, prefix, n: first if n == 2 and prefix == S0 else forked)
    found = explored(model, explore="tree_rl", tree_chains=2, tree_forks=1, tree_branches=2)
    # Leaves above the others' mean: 1 - 2/3 = 1/3 each of the three correct ones, 0 - 1. The root's value is 0.
    correct, wrong = found.groups[0].completions
    root = math.sqrt(3)
    assert correct.advantages == pytest.approx((2 / 3 * root, 2 / 3 * root, 1 / 3))
    assert wrong.advantages == pytest.approx((-2.0,))
    assert [c.advantages for c in found.groups[1].completions] == [pytest.approx((1 / 3,))] * 2


def test_tree_rl_forks_before_the_least_likely_tokens_and_has_30_leaves():
    log_probs = (-9.0, -0.1, -3.0, -0.2, -2.0)

    def script(_, prefix, n):
        start = 10 * script.calls
        script.calls += 1
        return [
            completion(float(i % 2), ids=range(start + 10 * i, start + 10 * i + 5), log_probs=log_probs)
            for i in range(n)
        ]

    script.calls = 1
    model = ScriptedModel(script)
    found = explored(model, explore="tree_rl")
    first = found.groups[0].completions[0].token_ids
    assert {(*S0, *first[:2]), (*S0, *first[:4])} <= {g.state.prefix_ids for g in found.groups}  # not the first token
    assert sum(len(g.completions) for g in found.groups) == 30 and len(found.groups) == 13
    assert len(model.calls) == len(set(model.calls)) == 13


def test_a_correct_leaf_is_kept_where_there_is_one():
    for seed in range(20):
        found = explored(sampled(seed, rate=0.1), explore="tree_rl", tree_keep=1)
        leaves = [c for g in found.groups for c in g.completions]
        if any(c.is_correct for c in leaves):
            assert any(c.is_correct and c.advantages[-1] is not None for c in leaves)


def test_without_forks_tree_rl_is_leave_one_out():
    found = explored(sampled(2), explore="tree_rl", tree_forks=0, tree_chains=4)
    (group,) = found.groups
    rewards = [c.reward for c in group.completions]
    for i, c in enumerate(group.completions):
        over = rewards[i] - statistics.fmean(rewards[:i] + rewards[i + 1 :])
        # The root's value is 0, so the step value is twice the leaf's.
        assert c.advantages == pytest.approx([2 * over] * len(c.token_ids))


def test_a_fork_leaves_room():
    ids, log_probs = range(10, 16), (-1.0, -1.0, -2.0, -3.0, -4.0, -9.0)
    model = ScriptedModel(lambda *_: [completion(i % 2, ids=ids, log_probs=log_probs) for i in range(_[2])])
    found = asyncio.run(explorer(model, s0_ids=S0, explore="tree_rl").explore(problem(room=5)))
    assert max(len(g.state.prefix_ids) for g in found.groups) < 5


def test_what_is_not_trained_on_fills_no_batch():
    found = explored(sampled(1, lengths=(8, 9)), explore="spo_tree", spo_branches=(6, 6), spo_segment=2, spo_edges=5)
    queue = GroupQueue(4)
    queue.extend(g for g in found.groups if g.trained)
    assert len(queue) == sum(len(g.trained) for g in found.groups) <= 5
    assert sum(len(g.trained) for g in queue.take()) == 4


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"explore": "spo_tree", "spo_branches": ()}, "--marge.spo_branches"),
        ({"explore": "spo_tree", "spo_branches": (6, 1)}, "--marge.spo_branches"),
        ({"explore": "spo_tree", "spo_norm": "std"}, "--marge.spo_norm"),
        ({"explore": "spo_tree", "spo_segment": 0}, "--marge.spo_segment"),
        ({"explore": "tree_rl", "tree_chains": 1}, "--marge.tree_chains"),
        ({"explore": "tree_rl", "advantage": "vine"}, "--marge.advantage"),
    ],
)
def test_what_makes_no_tree_is_refused(flags, named):
    with pytest.raises(ValueError, match=named):
        MargeConfig(**flags)


def test_a_response_that_ends_with_its_segment_is_not_gone_on_with():
    model = ScriptedModel(
        lambda _, prefix, n: [completion(i % 2, ids=(10 + i, EOS), log_probs=(-1.0, -1.0)) for i in range(n)]
    )
    found = explored(model, explore="spo_tree", spo_branches=(2, 2), spo_segment=2)
    assert model.calls == [("p", S0, 2)] and [g.state.prefix_ids for g in found.groups] == [S0]
