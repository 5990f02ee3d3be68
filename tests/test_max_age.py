"""``--marge.max_age``: no group is trained on more weight updates after it was sampled, and none goes uncounted."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("openrlhf", reason="the host is not installed")


from dataclasses import replace

from openrlhf_marge import Exploration, GuidancePool, MargeConfig, State, StateGroup
from openrlhf_marge.host.rollout.experiences import GROUP_ID
from openrlhf_marge.host.rollout.records import RolloutRecord
from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator
from openrlhf_marge.host.rollout.training_queue import TrainingQueue
from openrlhf_marge.method.group_queue import GroupQueue

from factories import completion, group, problem
from host_objects import generator_on
from scripted_dumps import mixed, visit, write_dump

BATCH = 4


def group_of(group_id: int, *versions: tuple[int, int], unequal: bool = True) -> StateGroup:
    """Its completions have these weight versions."""
    rewards = (float(unequal and i % 2) for i in range(len(versions)))
    answers = tuple(completion(r, weight_versions=v) for r, v in zip(rewards, versions, strict=True))
    return StateGroup(
        id=group_id, problem=problem(), state=State(index=0, prefix_ids=()), n_states=1, completions=answers
    )


def test_the_age_is_that_of_the_oldest_first_token_that_is_trained_on():
    mixed = group_of(0, (7, 9), (5, 9), (6, 6))
    assert mixed.weight_version == 5
    probe = completion(ids=(5, 0), advantages=(None, None), weight_versions=(1, 1))
    weighed = completion(ids=(5, 0), advantages=(0.5, None), weight_versions=(4, 6))
    state = State(index=0, prefix_ids=())
    with_probe = StateGroup(id=1, problem=problem(), state=state, n_states=1, completions=(probe, weighed))
    assert with_probe.weight_version == 4


def test_only_older_groups_leave_the_queue():
    queue = GroupQueue(BATCH)
    queue.extend([group_of(0, (4, 4)), group_of(1, (3, 9)), group_of(2, (4, 5), (3, 3)), group_of(3, (5, 5))])
    assert [g.id for g in queue.drop_older(4)] == [1, 2]
    assert [g.id for g in queue.groups] == [0, 3] and len(queue) == 2
    assert queue.drop_older(4) == []


@dataclass
class Rollouts:
    """Groups by rollout, and the generator that hands them on; ``sampled`` takes the place of the engines."""

    generator: GuidedSamplesGenerator
    kwargs: dict

    @classmethod
    def of(cls, rollouts, **options):
        tokenizer = SimpleNamespace(decode=str, eos_token_id=0)
        loader = SimpleNamespace(dataset=None, __len__=lambda: 0)
        generator, kwargs = generator_on(
            loader, tokenizer, [], MargeConfig(**options), problems=1, completions=2, batch=BATCH
        )

        def sampled(_kwargs):
            groups = rollouts[generator.rollouts - 1]
            explorations = [Exploration(problem_id="p", groups=tuple(groups))]
            generator._unreported += explorations
            return explorations, 1, False

        generator._sampled = sampled
        return cls(generator, kwargs)

    def step(self) -> list[int]:
        """The ids of the groups that are trained on next, one for each completion."""
        samples = self.generator.generate_samples(**self.kwargs)[0]
        return [int(sample.info[GROUP_ID]) for sample in samples]

    def resumed(self, rollouts, **options) -> "Rollouts":
        """Another process that goes on from the record of now."""
        record = self.generator.take_record()
        other = Rollouts.of(rollouts, **options)
        other.generator.restore(record, self.generator.queue.updates)
        return other


def test_groups_are_left_out_when_the_trainer_would_be_too_far_and_counted():
    """Pairs, two of which are a batch. The third rollout of an asynchronous run was sampled by the first weights."""
    rollouts = [
        [group_of(0, (0, 0), (0, 0)), group_of(1, (0, 0), (0, 0)), group_of(2, (0, 0), (0, 0))],  # the last waits
        [group_of(3, (0, 1), (0, 0))],
        [group_of(4, (0, 0), (0, 0)), group_of(5, (1, 1), (1, 1)), group_of(6, (2, 2), (1, 1))],
        [group_of(7, (1, 2), (3, 3)), group_of(8, (2, 2), (2, 2)), group_of(9, (2, 3), (2, 3))],
    ]
    run = Rollouts.of(rollouts, max_age=1)
    assert run.step() == [0, 0, 1, 1]
    assert run.generator.take_record().metrics["marge/groups_too_old"] == 0
    assert run.step() == [2, 2, 3, 3]
    record = run.generator.take_record()
    assert (record.metrics["marge/oldest_age"], record.skipped) == (1, 0)
    assert run.step() == [5, 5, 6, 6]
    assert run.step() == [8, 8, 9, 9]
    record = run.generator.take_record()
    assert (record.metrics["marge/groups_too_old"], record.metrics["marge/oldest_age"], record.skipped) == (2, 1, 4)
    assert run.generator._advice.too_old(1) == []  # it was said


def test_a_rollout_of_which_nothing_is_trained_on_makes_nothing_older():
    rollouts = [[group_of(0, (0, 0), (0, 0))], [group_of(1, (0, 0), (0, 0))]]
    run = Rollouts.of(rollouts, max_age=0)
    assert (run.step(), run.step()) == ([], [0, 0, 1, 1])


def test_what_is_said():
    rollouts = [[group_of(i, (0, 0), (0, 0)) for i in range(2)], [group_of(2, (0, 0), (0, 0))]]
    run = Rollouts.of(rollouts, max_age=0)
    assert run.step() == [0, 0, 1, 1]
    (sentence,) = run.generator._advice.too_old(3)
    assert sentence.startswith(
        "Groups were sampled more than --marge.max_age 0 weight updates before they could be trained on, 3 now, and "
        "are left out; train/marge/groups_too_old counts them."
    )
    assert run.step() == [] and run.generator.queue.skipped == 2


def test_without_the_flag_groups_of_any_age_are_trained_on():
    rollouts = [[group_of(i, (0, 0), (0, 0)) for i in range(3)], [group_of(3, (0, 0), (0, 0))]]
    run = Rollouts.of(rollouts)
    assert (run.step(), run.step()) == ([0, 0, 1, 1], [2, 2, 3, 3])
    assert "marge/groups_too_old" not in run.generator.take_record().metrics


def test_a_negative_age_is_refused_and_0_is_none():
    assert MargeConfig(max_age=0).leaves_out and not MargeConfig().leaves_out
    with pytest.raises(ValueError, match=r"--marge\.max_age is -1; it must be at least 0"):
        MargeConfig(max_age=-1)


# Of a group: completions, how many updates the weights of each were behind the newest, and how many they crossed.
GROUPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=5)
ROLLOUTS = st.lists(st.lists(GROUPS, min_size=1, max_size=6), min_size=1, max_size=6)


def versions_of(behind: int, crossed: int, updates: int) -> tuple[int, int]:
    first = max(0, updates - behind)
    return first, min(updates, first + crossed)


@settings(max_examples=60)
@given(drawn=ROLLOUTS, max_age=st.integers(0, 3), stop=st.integers(0, 5), saturated=st.booleans())
def test_no_group_is_trained_on_that_is_older_and_every_other_one_is_counted(drawn, max_age, stop, saturated):
    """The trainer here counts its own updates, one for each time that it gets samples, as the host's loop does."""
    options, rollouts, groups = dict(max_age=max_age, skip_saturated=saturated), [], {}
    run, updates, trained, counted, left_out = Rollouts.of(rollouts, **options), 0, [], 0, 0
    for place, rollout in enumerate(drawn):
        if place == stop:
            left_out += int(run.generator.queue.counts["marge/groups_skipped"])
            counted += int(run.generator.queue.counts["marge/groups_too_old"])
            run = run.resumed(rollouts, **options)
        of_rollout = [
            group_of(1000 * place + i, *(versions_of(*c, updates) for c in of_group), unequal=i % 3 > 0)
            for i, of_group in enumerate(rollout)
        ]
        groups |= {g.id: g for g in of_rollout}
        rollouts.append(of_rollout)
        step = run.step()
        assert len(step) % BATCH == 0
        assert all(updates - min(v for v, _ in weights_of(groups[i])) <= max_age for i in step)
        trained += step
        updates += bool(step)
    left_out += int(run.generator.queue.counts["marge/groups_skipped"])
    counted += int(run.generator.queue.counts["marge/groups_too_old"])
    assert run.generator.queue.updates == updates
    waiting = {g.id for g in run.generator.queue.groups}
    assert {i: trained.count(i) for i in trained} == {i: len(groups[i].completions) for i in set(trained)}
    assert not waiting & set(trained)
    gone = [g for i, g in groups.items() if i not in waiting and i not in trained]
    assert len(gone) == left_out + counted
    assert run.generator.queue.skipped == sum(len(g.completions) for g in gone)
    assert all(updates - g.weight_version > max_age for g in gone if g.has_signal or not saturated)
    assert all(g.has_signal for i, g in groups.items() if saturated and i in trained)


def weights_of(group: StateGroup) -> list[tuple[int, int]]:
    return [c.weight_versions for c in group.completions]


def test_a_group_whose_completions_begin_alike_and_end_later_crosses_an_update():
    assert group_of(0, (4, 5), (4, 5)).crosses_update and not group_of(0, (4, 4), (4, 4)).crosses_update


def test_the_oldest_age_is_that_of_the_oldest_group():
    queue = TrainingQueue(MargeConfig(), BATCH)
    queue.restore([group_of(0, (5, 5), (5, 5)), group_of(1, (3, 3), (3, 3))], 0, 6)
    assert len(queue.take()) == 2 and queue.take_counts() == {"marge/oldest_age": 3}


def test_a_record_tells_of_what_came_since_the_one_before_and_of_the_episode():
    rollouts = [[group_of(2 * i, (i, i), (i, i)), group_of(2 * i + 1, (i, i), (i, i))] for i in range(2)]
    run = Rollouts.of(rollouts)
    sampled = run.generator._sampled
    run.generator._sampled = lambda kwargs: (*sampled(kwargs)[:2], True)
    told = []
    for _ in rollouts:
        run.step()
        record = run.generator.take_record()
        told.append((record.metrics["marge/problems"], record.metrics["marge/groups"], record.episode))
    assert told == [(1.0, 2.0, 1), (1.0, 2.0, 2)]


def test_a_group_of_which_nothing_is_trained_on_does_not_wait():
    queue = TrainingQueue(MargeConfig(), 4)
    queue.put([replace(group(0), completions=(completion(1.0, advantages=(None, None)),)), group(1)])
    assert [g.id for g in queue.groups] == [1]


def test_a_resumed_replay_goes_on_with_the_next_file(tmp_path):
    first, second = (
        visit([mixed(1, 1), mixed(1, 1), mixed(1, 1)]),
        visit([mixed(1, 1), mixed(1, 1), mixed(1, 1)], number=1),
    )
    write_dump(tmp_path, first, second)
    config = MargeConfig(replay_dir=str(tmp_path))
    loader = SimpleNamespace(dataset=None, __len__=lambda: 0)

    def made():
        return generator_on(
            loader, SimpleNamespace(decode=str, eos_token_id=0), [], config, problems=1, completions=2, batch=6
        )

    undisturbed, kwargs = made()
    wanted = [[int(s.info[GROUP_ID]) for s in undisturbed.generate_samples(**kwargs)[0]] for _ in range(2)]
    resumed, kwargs = made()
    resumed.restore(RolloutRecord(pool=GuidancePool().state_dict(), waiting=(), rollouts=1, episode=4), 1)
    assert resumed.episode == 4
    assert [int(s.info[GROUP_ID]) for s in resumed.generate_samples(**kwargs)[0]] == wanted[1] != wanted[0]
