"""Texts of training data against OpenRLHF's own data sets, and with tokenizers that lose something."""

from collections import Counter
from types import SimpleNamespace

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from openrlhf_marge import Completion, Problem, State, StateGroup
from openrlhf_marge.cli.build_pairs import main
from openrlhf_marge.models import TokenizerCodec
from openrlhf_marge.pairs import Draft
from openrlhf_marge.pairs.texts import checked

from scripted_dumps import completion, mixed, save_model, tokenizer, visit, write_dump


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    return TokenizerCodec(save_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def metaspace(tmp_path_factory):
    """As sentencepiece has it: a word knows the space before it, and a text's first space is dropped."""
    words = ["</s>", "<unk>", "\u2581What", "\u2581is", "\u2581it", "\u2581seven", "s", "\u2581", "it"]
    core = Tokenizer(models.Unigram([(w, -1.0) for w in words], unk_id=1))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    folder = tmp_path_factory.mktemp("metaspace")
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>").save_pretrained(folder)
    return TokenizerCodec(str(folder))


def draft(prompt: str, prompt_ids, state_ids, *responses) -> Draft:
    problem = Problem(id="p", prompt=prompt, label="1", prompt_ids=prompt_ids, max_response_tokens=99)
    state = State(index=0, prefix_ids=state_ids)
    of_group = tuple(Completion(token_ids=r, reward=1.0, is_correct=True) for r in responses)
    group = StateGroup(id=1, problem=problem, state=state, n_states=1, completions=of_group)
    return Draft(group=group, state_ids=state_ids, responses=responses)


def test_spaces_at_the_start_of_pieces_are_kept(metaspace):
    (what, is_, it, seven), eos = metaspace.encode(["What is it seven"])[0], metaspace.eos_id
    left_out = Counter()
    drafts = [draft("What is", (what, is_), (it,), (seven, eos), (it, seven, eos))]
    drafts.append(draft("What", (what,), (), (8, eos)))
    (_, first), (_, second) = checked(drafts, metaspace, left_out)
    assert (first.state, first.response(0), first.response(1)) == (" it", " seven</s>", " it seven</s>")
    assert (second.state, second.response(0), left_out) == ("", "it</s>", {})


def test_what_reads_the_same_and_is_not_the_same_is_left_out(metaspace):
    (what, it), eos, left_out = metaspace.encode(["What it"])[0], metaspace.eos_id, Counter()
    space, bare = 7, 8  # two tokens that spell the one of " it"
    drafts = [draft("What", (what,), (), (it, eos)), draft("What", (what,), (), (space, bare, eos))]
    drafts.append(draft("What", (what,), (space, bare), (it, eos)))
    assert [d for d, _ in checked(drafts, metaspace, left_out)] == drafts[:1]
    assert left_out == {"response_text": 1, "prompt_text": 1}


def test_a_step_may_end_within_a_character(codec):
    (prompt_ids, state_ids), eos = codec.encode(["What?", " a"]), codec.eos_id
    ids = tuple(codec.encode([" b\u4f60c"])[0])
    made = draft("What?", tuple(prompt_ids), tuple(state_ids), (*ids, eos))
    made.cuts[0] = (len(ids) - 2,)
    ((_, texts),) = checked([made], codec, Counter())
    assert (texts.state, texts.pieces) == (" a", ((" b", f"\u4f60c{codec.eos_text}"),))


IDS = st.lists(st.integers(0, len(tokenizer()) - 1), max_size=8).map(tuple)


@given(IDS, IDS, IDS, IDS, st.lists(st.integers(0, 8), max_size=3))
@settings(max_examples=200)
def test_survivors_are_exact_whatever_the_model_sampled(codec, prompt_ids, state_ids, a, b, cuts):
    eos = (codec.eos_id,)
    made = draft(codec.decode([prompt_ids])[0], prompt_ids, state_ids, a + eos, b + eos)
    made.cuts[0] = tuple(sorted(min(c, len(a)) for c in cuts))
    for _, texts in checked([made], codec, Counter()):
        assert len(texts.pieces[0]) == len(cuts) + 1
        assert tuple(codec.encode([texts.prompt + texts.state])[0]) == prompt_ids + state_ids
        for index, ids in enumerate((a, b)):
            whole = texts.prompt + texts.state + texts.response(index)
            assert tuple(codec.encode([whole])[0]) == prompt_ids + state_ids + ids + eos


@pytest.mark.parametrize("flags", [[], ["--from_all_states"]])
def test_openrlhf_fine_tunes_on_the_ids_that_were_sampled(tmp_path, flags):
    from openrlhf.datasets.sft_dataset import SFTDataset

    groups = visit([mixed(2, 1), mixed(3, 1), [completion(" \n\n"), completion("5", 0.0)]])
    dump, out = write_dump(tmp_path / "dump", groups), tmp_path / "rows.jsonl"
    arguments = ["--kind", "sft", "--model", save_model(tmp_path / "model"), "--out", str(out)]
    assert main([str(dump), *arguments, *flags]) == 0
    data = datasets.load_dataset("json", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    keys = SimpleNamespace(input_key="prompt", output_key="response", apply_chat_template=False)
    strategy = SimpleNamespace(args=SimpleNamespace(data=keys))
    read = SFTDataset(data, tokenizer(), 300, strategy, input_template="", num_processors=1)
    prompt_ids = groups[0].problem.prompt_ids
    wanted = {
        prompt_ids + g.state.prefix_ids + c.token_ids
        for g in (groups if flags else groups[:1]) for c in g.completions if c.is_correct
    }  # fmt: skip
    assert {tuple(ids[0].tolist()) for ids, _, _ in read} == wanted and len(read) == len(wanted) == (6 if flags else 2)
    assert all(mask.sum() == ids.numel() - len(prompt_ids) for ids, _, mask in read)
