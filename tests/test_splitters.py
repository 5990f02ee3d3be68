import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrlhf_marge import MargeConfig, split_into_states

from factories import guidance, letters, problem, text_ids

PREFIX = "Step 1:"


def states_of(text: str, *, s0: str = "", room: int = 1000, decode=letters, **config) -> list[str]:
    """The states' texts."""
    guide = guidance(text_ids(text))
    states = split_into_states(problem(room=room), [guide], text_ids(s0), MargeConfig(**config), decode)
    assert [s.parent for s in states] == [None, *range(len(states) - 1)]
    assert [s.index for s in states] == list(range(len(states)))
    return ["".join(letters(s.prefix_ids)) for s in states]


def test_tokens_are_cut_evenly_from_the_empty_state_app_b1():
    assert states_of("abcdefghij", split="tokens", n_states=5) == ["", "ab", "abcd", "abcdef", "abcdefgh"]


def test_a_step_state_ends_right_after_its_label_app_b1():
    text = "Step 1: a\nStep 2: b\nStep 3: c"
    assert states_of(text, s0=PREFIX) == ["Step 1:", "Step 1: a\nStep 2:", "Step 1: a\nStep 2: b\nStep 3:"]


def test_the_labels_that_are_there_decide():
    text = "Step 1: a Step 7: b Step 7: c"
    assert states_of(text, s0=PREFIX) == ["Step 1:", "Step 1: a Step 7:", "Step 1: a Step 7: b Step 7:"]


def test_without_labels_the_cut_is_by_tokens_after_s0():
    assert states_of("Step 1:abcd", s0=PREFIX, n_states=2) == ["Step 1:", "Step 1:ab"]


def test_states_cut_by_tokens_for_want_of_a_label_are_marked():
    def marks(text, **config):
        guide = guidance(text_ids(text))
        states = split_into_states(problem(), [guide], text_ids(PREFIX), MargeConfig(n_states=2, **config), letters)
        return [s.is_fallback for s in states]

    assert marks("Step 1:abcd") == [True, True]
    assert marks("Step 1:ab Step 2:cd") == [False, False]
    assert marks("Step 1:abcd Step 2:") == [False]  # a label, and nothing after it
    assert marks("Step 1:abcd", split="tokens") == [False, False]


def test_a_state_ends_with_the_token_that_holds_the_end_of_the_label():
    pieces = ["Step 1:", " a\nSte", "p 2: b", " c"]
    states = split_into_states(
        problem(), [guidance((0, 1, 2, 3))], (0,), MargeConfig(), lambda ids: [pieces[i] for i in ids]
    )
    assert [s.prefix_ids for s in states] == [(0,), (0, 1, 2)]


def test_two_labels_in_one_token_give_one_state():
    pieces = ["x", "Step 1: Step 2:", "y"]
    states = split_into_states(
        problem(), [guidance((0, 1, 2))], (), MargeConfig(), lambda ids: [pieces[i] for i in ids]
    )
    assert [s.prefix_ids for s in states] == [(), (0, 1)]


def test_a_label_at_the_very_end_is_the_full_response_and_no_state():
    assert states_of("Step 1: a Step 2:", s0=PREFIX) == ["Step 1:"]


def test_another_label_is_a_flag():
    assert states_of("a\n\nb\n\nc", step_label="\n\n", cot_prefix="") == ["", "a\n\n", "a\n\nb\n\n"]


def test_a_state_without_room_is_left_out():
    assert states_of("abcdefghij", split="tokens", n_states=5, room=5) == ["", "ab", "abcd"]


def test_short_guidance_gives_no_state_twice():
    assert states_of("ab", split="tokens", n_states=5) == ["", "a"]


def test_guidance_of_another_prefix_is_refused():
    with pytest.raises(ValueError, match="does not start with s_0"):
        states_of("abc", s0="x")


def test_guidances_share_the_states_of_their_common_prefix_remark_c_4():
    texts = ("a Step 1: b Step 2: c", "a Step 1: b Step 2: d Step 3: e", "a Step 1: x")
    guides = [guidance(text_ids(t), visit=i) for i, t in enumerate(texts)]
    states = split_into_states(problem(), guides, (), MargeConfig(), letters)
    assert ["".join(letters(s.prefix_ids)) for s in states] == [
        "", "a Step 1:", "a Step 1: b Step 2:", "a Step 1: b Step 2: d Step 3:",
    ]  # fmt: skip
    assert [(s.index, s.parent, s.guidance.visit) for s in states] == [(0, None, 0), (1, 0, 0), (2, 1, 0), (3, 2, 1)]


def test_positions_are_shares_of_the_guidance_after_s0():
    states = split_into_states(problem(), [guidance(range(10, 20))], (10, 11), MargeConfig(split="tokens"), letters)
    assert [s.position for s in states] == [0, 1 / 8, 3 / 8, 4 / 8, 6 / 8]


@pytest.mark.parametrize(("most", "kept"), [(1, "0"), (2, "09"), (3, "049"), (4, "0369"), (10, "0123456789")])
def test_more_states_than_the_cap_are_thinned_evenly(most, kept):
    # The state after label k ends with the digit k; s_0 stands for 0.
    states = states_of("".join(f"{i};" for i in range(1, 10)) + "end", step_label=r"\d", max_states=most)
    assert "".join(s[-1:] or "0" for s in states) == kept


def test_ones_own_splitter_is_found_by_its_name(install):
    body = "def cut(ids, start, config, decode_pieces): return [start, len(ids) // 2]"
    install("halves", body, "[openrlhf_marge.splitters]\nhalves = halves:cut\n")
    assert states_of("abcdefgh", split="halves") == ["", "abcd"]


def test_guidance_of_one_token_has_s0_alone():
    assert states_of("a", split="tokens") == [""]


@given(
    text=st.text(alphabet="Step 123:ab\n", min_size=1, max_size=60),
    split=st.sampled_from(["step", "tokens"]),
    n_states=st.integers(1, 8),
    room=st.integers(1, 70),
)
def test_states_are_growing_proper_prefixes_with_room(text, split, n_states, room):
    states = states_of(text, split=split, n_states=n_states, room=room)
    assert states[0] == ""
    assert all(text.startswith(s) and len(s) < len(text) and len(s) < room for s in states)
    assert sorted({len(s) for s in states}) == [len(s) for s in states]


def test_two_labels_in_one_token_give_one_state_where_more_follows():
    pieces = ["x", "Step 1: Step 2:", "y", "z"]
    states = split_into_states(
        problem(), [guidance((0, 1, 2, 3))], (), MargeConfig(), lambda ids: [pieces[i] for i in ids]
    )
    assert [s.prefix_ids for s in states] == [(), (0, 1)]


def test_a_label_that_may_be_empty_cuts_only_where_there_is_one():
    pieces = ["a", "b", "#", "c", "d"]
    states = split_into_states(
        problem(), [guidance(range(5))], (), MargeConfig(step_label="#*"), lambda ids: [pieces[i] for i in ids]
    )
    assert [s.prefix_ids for s in states] == [(), (0, 1, 2)]
