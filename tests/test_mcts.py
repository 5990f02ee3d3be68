"""MCTS-DPO's search: what it samples, and what it finds of steps against an independent search by the definition."""

import asyncio
import math
import random
import statistics
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrlhf_marge import Completion, Exploration, GuidancePool, MargeConfig
from openrlhf_marge.data.dump import DumpWriter, dump_path
from openrlhf_marge.data.dump_reading import read_groups
from openrlhf_marge.exploration.totals import totals_of
from openrlhf_marge.method.search import Node, Step, carry_up, most_promising, step_of, steps_of, taken
from openrlhf_marge.method.self_evaluation import ASKED as ASKED_TEXT
from openrlhf_marge.method.self_evaluation import Question, make_question
from openrlhf_marge.method.visit import Visit
from openrlhf_marge.seeds import generator

from factories import EOS, ScriptedModel, explorer, problem, text_ids

S0 = (3,)
STEPS = {"split": "step", "step_label": r"\|", "cot_prefix": ""}


def graded(text: str, reward: float, likelihood: float = 1.0, *, end=(EOS,)) -> Completion:
    """Its first token has the likelihood, the others are certain."""
    ids = (*text_ids(text), *end)
    log_probs = (math.log(likelihood), *(0.0 for _ in ids[1:]))
    return Completion(token_ids=ids, reward=reward, is_correct=reward > 0.5, log_probs=log_probs)


def explored(model, *, n=4, seed=0, question=None, **config) -> Exploration:
    found = explorer(model, s0_ids=S0, n=n, seed=seed, question=question, explore="mcts_dpo", **STEPS | config)
    return asyncio.run(found.explore(problem()))


def sampled(seed: int, letters: str, steps: int = 4):
    """A model whose steps, log-probs and grades are drawn by what it goes on from, whatever the order of requests."""

    def script(_, prefix, n):
        rng = generator(seed, prefix)
        rate, made = rng.random(), []
        for _ in range(n):
            parts = ["".join(rng.choices(letters, k=rng.randint(1, 3))) for _ in range(rng.randint(1, steps))]
            ids = text_ids("|".join(parts)) + (EOS,) * (rng.random() < 0.9)
            log_probs = tuple(math.log(rng.uniform(0.05, 1.0)) for _ in ids)
            reward = float(rng.random() < rate)
            made.append(Completion(token_ids=ids, reward=reward, is_correct=reward > 0.5, log_probs=log_probs))
        return made

    return ScriptedModel(script)


def found_steps(exploration):
    """(prefix, prefix after the step) -> what was found of the step."""
    found = {}
    for group in exploration.groups:
        for c in group.completions:
            if step := step_of(dict(c.extra_logs)):
                prefix = group.state.prefix_ids
                found[prefix, prefix + c.token_ids[: step.tokens]] = step
    return found


# --- the definition, by recursion over prefixes and plain dictionaries, without the package's tree ---


class Definition:
    """Searches what was sampled: prefix -> its completions."""

    def __init__(self, completions, *, simulations, depth, actions, breadth, weight, penalty, longest):
        self.completions, self.depth, self.longest = completions, depth, longest
        self.actions, self.breadth, self.weight, self.penalty = actions, breadth, weight, penalty
        self.value = {S0: self.mean(S0)}
        self.n, self.q, self.v = defaultdict(int), {S0: 0.0}, defaultdict(float)
        self.gain, self.prior, self.children, self.told = {S0: 0.0}, {}, {}, {}
        node, level = S0, 0
        while node in completions:
            for _ in range(simulations * (1 if level else 4)):
                self.walk(node, level, depth)
            if not self.children[node]:
                break
            spread = {c: self.spread(c) for c in self.children[node]}
            best = max(self.children[node], key=lambda c: (self.n[c] * (spread[c] + 1), self.q[c], self.v[c]))
            self.tell(node, best)
            node, level = best, level + 1
        self.end = node
        for other in list(self.children):
            self.tell(other, None)

    def mean(self, prefix):
        return statistics.fmean(c.reward for c in self.completions[prefix])

    def spread(self, prefix):
        visits = [self.n[c] for c in self.children.get(prefix, [])]
        return max(visits) - min(visits) if visits else 0

    def expand(self, prefix, level):
        found, texts = [], set()
        for c in self.completions[prefix][: 1 if level >= self.depth else self.actions]:
            content = bytes(c.token_ids).split(bytes([EOS]))[0]
            before, bar, after = content.partition(b"|")
            step = before + bar if after else content
            step = step[: self.longest]
            step = c.token_ids if level >= self.depth or step == content else tuple(step)
            if step in texts or prefix + step in self.value:
                continue
            texts.add(step)
            if len(found) < self.breadth:
                child = prefix + step
                is_end = step == c.token_ids
                self.value[child] = c.reward + (1 if c.is_correct else -1) if is_end else self.mean(child)
                self.gain[child] = self.q[child] = self.value[child] - self.value[prefix]
                self.prior[child] = math.exp(sum(c.log_probs[: len(step)]) / len(step) ** self.penalty)
                found.append(child)
        self.children[prefix] = found

    def walk(self, prefix, level, left):
        if prefix in self.completions and left:
            if prefix not in self.children:
                self.expand(prefix, level)
            if children := self.children[prefix]:
                root = math.sqrt(self.n[prefix])
                self.walk(
                    max(
                        children,
                        key=lambda c: self.q[c] + self.weight * self.prior[c] * root / (1 + self.n[c]),
                    ),
                    level + 1,
                    left - 1,
                )
                weights = [max(1, self.n[c]) for c in children]
                self.v[prefix] = sum(w * self.q[c] for w, c in zip(weights, children, strict=True)) / sum(weights)
        self.n[prefix] += 1
        self.q[prefix] = self.gain[prefix] + self.v[prefix]

    def tell(self, prefix, best):
        most = max((self.n[c] for c in self.children[prefix]), default=0)
        ties = sum(self.n[c] == most for c in self.children[prefix])
        for child in self.children[prefix]:
            choice = (self.n[child] == most) / ties
            facts = (self.q[child], choice, self.gain[child], self.value[child], self.n[child], child == best)
            self.told.setdefault((prefix, child), facts)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    letters=st.sampled_from(["a", "ab", "abcdefgh"]),
    simulations=st.sampled_from([1, 3, 16]),
    depth=st.integers(1, 4),
    actions=st.integers(1, 4),
    breadth=st.integers(1, 4),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
    longest=st.sampled_from([2, 99]),
)
def test_what_is_found_of_steps_is_that_of_the_definition(
    seed, letters, simulations, depth, actions, breadth, weight, longest
):
    model = sampled(seed, letters)
    found = explored(
        model, mcts_simulations=simulations, mcts_depth=depth, mcts_actions=actions, mcts_breadth=breadth,
        mcts_exploration=weight, mcts_length_penalty=1.25, mcts_step_tokens=longest,
    )  # fmt: skip
    completions = {g.state.prefix_ids: g.completions for g in found.groups}
    defined = Definition(
        completions, simulations=simulations, depth=depth, actions=actions, breadth=breadth, weight=weight,
        penalty=1.25, longest=longest,
    )  # fmt: skip
    steps = found_steps(found)
    assert steps.keys() == defined.told.keys()
    for edge, step in steps.items():
        q, choice, gain, value, visits, is_taken = defined.told[edge]
        assert (step.q, step.gain, step.value) == pytest.approx((q, gain, value), abs=1e-12)
        assert (step.choice, step.visits, step.is_taken) == (choice, visits, is_taken)
        assert len(edge[1]) - len(edge[0]) == step.tokens
    # What was sampled is the states of the tree, each once and with all of its completions.
    assert sorted(model.calls) == sorted(("p", prefix, 4) for prefix in completions)
    assert totals_of([found]).generated_tokens == sum(len(c.token_ids) for cs in completions.values() for c in cs)
    # Parents stand before their children, and know how long the step between them is.
    for group in found.groups[1:]:
        parent = found.groups[group.state.parent]
        assert group.state.parent < group.state.index
        assert group.state.prefix_ids[: -group.state.segment] == parent.state.prefix_ids
        assert group.value_gain == pytest.approx(group.value - parent.value)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), simulations=st.sampled_from([1, 8]))
def test_q_is_the_value_of_what_a_step_leads_to_above_that_of_the_state_before_it(seed, simulations):
    # Gains add up along a path, so only the values of its ends and of its beginning stay.
    found = explored(sampled(seed, "abcd"), mcts_simulations=simulations, mcts_step_tokens=20)
    steps, values = found_steps(found), {g.state.prefix_ids: g.value for g in found.groups}
    below = defaultdict(list)
    for (prefix, after), step in steps.items():
        below[prefix].append((after, step))

    def leads_to(after, step):
        if not below[after]:
            return step.value
        weights = [max(1, s.visits) for _, s in below[after]]
        return sum(w * leads_to(*child) for w, child in zip(weights, below[after], strict=True)) / sum(weights)

    for (prefix, after), step in steps.items():
        if not step.is_taken:  # below a step that is taken the search goes on
            assert step.q == pytest.approx(leads_to(after, step) - values[prefix], abs=1e-12)


def known(prefix, n):
    """Responses of known success: after a half, after b a quarter of the completions are correct."""
    tail = {S0: ("a|x", "b|y"), (*S0, *text_ids("a|")): ("x", "x"), (*S0, *text_ids("b|")): ("y", "z")}[prefix]
    right = {1: 2, 3: 4 if prefix[1] == ord("a") else 1}[len(prefix)] if len(prefix) > 1 else 5
    likelihood = {0: 0.25, 1: 0.5}
    return [graded(tail[i % 2], float(i < right), likelihood[i % 2]) for i in range(n)]


def test_a_search_of_known_values_by_hand():
    found = explored(
        ScriptedModel(lambda _, prefix, n: known(prefix, n)), n=8, mcts_simulations=1, mcts_depth=1,
        mcts_length_penalty=0.0,
    )  # fmt: skip
    a, b = text_ids("a|"), text_ids("b|")
    assert [g.value for g in found.groups] == [5 / 8, 4 / 8, 1 / 8]
    steps = found_steps(found)
    # Four walks from s_0, Q + p sqrt(N) / (1 + N) with p(a) = 1/4 and p(b) = 1/2: a is -1/8 before, b -1/2.
    #   N = 0: -.125 against -.5, a    N = 1: -.125 + .125 = 0 against -.5 + .5 = 0, a, which is first
    #   N = 2: -.125 + .118 against -.5 + .707, b    N = 3: -.125 + .144 against -.5 + .433, a
    assert steps[S0, S0 + a] == Step(tokens=2, q=-1 / 8, choice=1.0, gain=-1 / 8, value=4 / 8, visits=3, is_taken=True)
    assert steps[S0, S0 + b] == Step(tokens=2, q=-4 / 8, choice=0.0, gain=-4 / 8, value=1 / 8, visits=1)
    # From there the first completion of the state goes to the end, and is correct.
    assert steps[S0 + a, S0 + a + text_ids("x") + (EOS,)] == Step(
        tokens=2, q=1.5, choice=1.0, gain=1.5, value=2.0, visits=1, is_taken=True
    )
    assert len(steps) == 3


@pytest.mark.parametrize("one", [{"mcts_actions": 1}, {"mcts_breadth": 1}])
def test_without_branches_it_is_a_chain_of_the_first_completions(one):
    for seed in range(20):
        found = explored(sampled(seed, "abcd"), **one, mcts_step_tokens=50)
        steps = found_steps(found)
        assert len(found.groups) == len(steps) and all(s.is_taken and s.choice == 1.0 for s in steps.values())
        path = [g.state.prefix_ids for g in found.groups]
        assert [g.state.parent for g in found.groups] == [None, *range(len(path) - 1)]
        for group, after in zip(found.groups, [*path[1:], None], strict=True):
            first = group.state.prefix_ids + group.completions[0].token_ids
            assert after is None or first[: len(after)] == after


def test_the_published_budget_is_fifteen_states_at_most():
    counter = iter(range(10**6))

    def script(_, prefix, n):
        parts = 6 - bytes(prefix).count(b"|")
        return [graded("|".join(f"{next(counter):06d}" for _ in range(parts)), float(i % 2)) for i in range(n)]

    model = ScriptedModel(script)
    found = explored(model, n=8)
    assert [n for _, _, n in model.calls] == [8] * 15 and len(set(model.seeds)) == 15
    assert totals_of([found]).completions == 8 * 15
    # Steps that branch end at the third; the fourth of the path is the rest of a response.
    path = [(edge, step) for edge, step in found_steps(found).items() if step.is_taken]
    assert len(path) == 4 and sum(step.visits for _, step in path[:1]) > 0
    assert path[-1][0][1][-1] == EOS
    # Two steps from s_0 share the 4 x 64 walks.
    first = [step.visits for (prefix, _), step in found_steps(found).items() if prefix == S0]
    assert len(first) == 2 and sum(first) == 256


def test_the_same_step_twice_is_one_child_and_an_ended_response_has_none():
    def script(_, prefix, n):
        texts = {1: ("a|b", "a|c"), 3: ("b", "c")}[len(prefix)]
        return [graded(texts[i % 2], 1.0) for i in range(n)]

    found = explored(ScriptedModel(script), n=2, mcts_depth=3)
    assert [step.tokens for step in found_steps(found).values()] == [2, 2, 2]
    assert [len(g.state.prefix_ids) for g in found.groups] == [1, 3]


def test_a_state_that_the_tree_has_elsewhere_is_no_second_group():
    # A greedy label: "a|" and "a||" are both first steps, and the second is also where a step after the first ends.
    def script(_, prefix, n):
        texts = {b"": ("a|b", "a||c"), b"a|": ("|d", "e"), b"a||": ("f", "g")}[bytes(prefix[1:])]
        return [graded(texts[i % 2], 1.0) for i in range(n)]

    found = explored(ScriptedModel(script), n=2, step_label=r"\|+")
    prefixes = [bytes(g.state.prefix_ids[1:]) for g in found.groups]
    assert prefixes == [b"", b"a|", b"a||"]


def test_what_was_found_survives_the_dump(tmp_path):
    found = explored(sampled(3, "abcd"))
    writer = DumpWriter(tmp_path, "group_norm")
    writer.write(1, found.groups)
    writer.wait()
    read = list(read_groups(dump_path(tmp_path, 1)))
    assert found_steps(Exploration(problem_id="p", groups=tuple(read))) == found_steps(found) != {}


def test_ties_go_to_the_first_and_the_spread_of_visits_counts():
    def node(visits, children=(), **facts):
        made = Node(prefix_ids=(), value=0.0, children=children, **facts)
        made.visits = visits
        return made

    first, second = node(3), node(3)
    assert taken(node(6, (first, second))) is first
    assert most_promising(node(6, (first, second)), 1.0) is first
    split = node(2, (node(2), node(0)))  # 2 x (2 + 1) > 3 x 1
    assert taken(node(8, (first, second, split))) is split
    assert [s.choice for s in steps_of(node(6, (first, node(3, completion=1)))).values()] == [0.5, 0.5]


def test_the_same_flags_give_the_same_whatever_arrives_first():
    def late(model, seed):
        rng = random.Random(seed)
        model._delays = iter(lambda: rng.choice([0, 0.001]), None)
        return model

    runs = [explored(late(sampled(5, "abcd"), seed)) for seed in range(3)]
    assert runs[0] == runs[1] == runs[2]


ASKED = Question(text_ids("?"), ord("B"))


def test_the_model_judges_where_it_is_asked():
    believed = {b"a|": 0.9, b"b|": 0.2, b"a|x": 0.7, b"": 0.4}
    model = ScriptedModel(
        lambda _, prefix, n: known(prefix, 8)[:n], judge=lambda ids: believed[bytes(ids[1:]).removesuffix(b"?")]
    )
    found = explored(model, question=ASKED, mcts_value="self_evaluation", mcts_simulations=1, mcts_depth=1)
    steps = found_steps(found)
    a, b, end = S0 + text_ids("a|"), S0 + text_ids("b|"), S0 + text_ids("a|x") + (EOS,)
    assert {after: step.value for (_, after), step in steps.items()} == {a: 0.9, b: 0.2, end: 1.0 + 0.7}
    assert steps[S0, a].gain == pytest.approx(0.5) and steps[S0, b].gain == pytest.approx(-0.2)
    # Two completions a state are enough, and each answer is a token that counts.
    assert [n for _, _, n in model.calls] == [2, 2, 2]
    assert {(ids[-1:], option) for ids, option in model.judgements} == {(ASKED.ids, ord("B"))}
    assert [probe.value for probe in found.probes] == [0.4, 0.9, 0.2, 0.7]
    assert [probe.state.prefix_ids for probe in found.probes] == [S0, a, b, end[:-1]]
    totals = totals_of([found])
    assert totals.probe_tokens == 4 and totals.generated_tokens == 4 + totals.completion_tokens


def test_a_solution_that_leaves_no_room_for_the_question_has_the_value_before_it():
    def script(_, prefix, n):
        return [graded("a|b", 1.0), graded("c|d", 0.0)][:n] if prefix == S0 else [graded("x", 1.0)] * n

    model = ScriptedModel(script, judge=lambda ids: 0.25)
    asked = Question((9,) * 6, 5)  # after s_0 alone there is room for it
    chain = explorer(model, s0_ids=S0, question=asked, explore="mcts_dpo", mcts_value="self_evaluation", **STEPS)
    found = asyncio.run(chain.explore(problem(room=8)))
    values = {after[1:]: step.value for (_, after), step in found_steps(found).items()}
    assert values[text_ids("a|")] == 0.25 and values[(*text_ids("a|x"), EOS)] == 1.25
    assert [ids for ids, _ in model.judgements] == [S0 + asked.ids]


def test_the_options_are_one_token_each():
    question = make_question(text_ids)
    assert question == Question(text_ids(ASKED_TEXT), ord("B"))
    with pytest.raises(ValueError, match="self_evaluation reads the probability of 'B'"):
        make_question(lambda text: (1, 2))
    with pytest.raises(ValueError, match="does not tell apart by one token"):
        make_question(lambda text: (*text_ids(text), *text_ids(text[-1])))  # two each


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"split": "step", "mcts_value": "gold"}, "--marge.mcts_value is 'gold'; it must be one of graded, self"),
        ({"split": "tokens"}, "--marge.split tokens has no delimiter"),
        ({"split": "step", "state_budget": "adaptive"}, "leave out --marge.state_budget"),
        ({"split": "step", "mcts_depth": 0}, "--marge.mcts_depth is 0"),
        ({"split": "step", "mcts_exploration": -1.0}, "--marge.mcts_exploration"),
    ],
)
def test_flags_that_make_no_search_are_refused(flags, named):
    with pytest.raises(ValueError, match=named):
        MargeConfig(explore="mcts_dpo", **flags)


def test_completions_that_are_too_few_or_too_short_are_refused():
    config = MargeConfig(explore="mcts_dpo", mcts_actions=4)
    config.check_completions(4, 2048, 129)
    MargeConfig(explore="mcts_dpo", mcts_actions=4, mcts_value="self_evaluation").check_completions(3, 2048, 129)
    with pytest.raises(ValueError, match=r"--marge.mcts_actions 4 is above --rollout.n_samples_per_prompt 3"):
        config.check_completions(3, 2048, 129)
    with pytest.raises(ValueError, match=r"--marge.mcts_step_tokens 128 is as long as the longest response, 128"):
        config.check_completions(4, 2048, 128)
    with pytest.raises(ValueError, match=r"--marge.mcts_step_tokens 128 is as long"):
        config.check_completions(4, 100, None)


def test_a_question_fills_no_response_to_its_end():
    chain = explorer(ScriptedModel(lambda *_: [], judge=lambda ids: 0.5))

    def judged(room):
        made = Visit(
            problem=problem(room=room),
            number=0,
            s0_ids=(),
            config=chain.config,
            run_seed=0,
            eos_ids=frozenset({EOS}),
            n_completions=1,
            sampler=chain.sampler,
            decode_pieces=chain.decode_pieces,
            pool=GuidancePool(),
            question=Question((9, 9), 5),
        )
        return asyncio.run(made.judged((3, 4)))

    assert judged(4) is None and judged(5) is not None  # the answer is a token, too


def test_the_last_node_of_a_path_keeps_what_it_expects():
    leaf = Node(prefix_ids=(1,), value=0.5, gain=0.25, future=0.125)
    leaf.children = (Node(prefix_ids=(1, 2), value=1.0, gain=0.5),)
    carry_up([leaf])
    assert (leaf.visits, leaf.future, leaf.q) == (1, 0.125, 0.375)
