"""Pieces of token ids, s_0, EOS ids and processors, with small tokenizers of the kinds that models have."""

import functools
import json
from itertools import accumulate, pairwise
from os.path import commonprefix
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openrlhf", reason="the host is not installed")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    Gemma3Config,
    Gemma3Processor,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

from openrlhf_marge import MargeConfig, split_into_states
from openrlhf_marge.arithmetic.model import build_model, build_tokenizer
from openrlhf_marge.decoding import BROKEN, added_texts, before_stop, decode_pieces
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.tokens import encode

from factories import guidance, problem

TEXT = (
    "Step 1: le caf\u00e9 co\u00fbte 4\u20ac\n\u6b65\u9aa4 1\uff1a\u6211\u4eec 3+4=7\u3002 "
    "\U0001f469\u200d\U0001f680\U0001f44d\U0001f3fd  fin"
)
STEPS = "\u6b65\u9aa4 1\uff1a3+4=7\n\u6b65\u9aa4 2\uff1a7+1=8\n\u7b54\u6848\uff1a8"
STEP_LABEL = "\u6b65\u9aa4 \\d+\uff1a"


@functools.cache
def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2's, Qwen's and Llama 3's: a token is some bytes."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|end|>"], show_progress=False
    )
    core.train_from_iterator([TEXT, "Step 2: caf\u00e9", "\u6b65\u6b65 \u9aa4"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")


def words() -> list[str]:
    """One character of the step label, and a replacement character that is a token of its own, are among them."""
    known = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581Step", "\u2581\u2581"]
    return [*known, *dict.fromkeys("\u2581\ufffdStep1:cafoute47+=n\u6b65\u00e9")]


@functools.cache
def byte_fallback() -> PreTrainedTokenizerFast:
    """As Llama 2's: a word knows the space before it, a text's first one is dropped, unknown characters are bytes."""
    vocabulary = {word: i for i, word in enumerate(words())}
    core = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


@functools.cache
def unigram() -> PreTrainedTokenizerFast:
    """As T5's and Gemma's conversions of sentencepiece, with Metaspace."""
    core = Tokenizer(models.Unigram([(w, -1.0) for w in words()], unk_id=0, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", unk_token="<unk>")


TOKENIZERS = (byte_level, byte_fallback, unigram)


def decoded(tokenizer, ids) -> str:
    return tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def pieces_by_prefixes(tokenizer, ids) -> list[str]:
    """The definition: all prefixes decoded, each token having what its prefix adds to what is known of the text."""
    text = decoded(tokenizer, ids)
    known = [len(commonprefix([decoded(tokenizer, ids[:n]), text])) for n in range(1, len(ids))]  # noqa: RUF071
    return [text[a:b] for a, b in pairwise([*accumulate(known, max, initial=0), len(text)])] if ids else []


def id_lists(tokenizer):
    """Texts with stray tokens, bytes among them, in between: what a model may sample."""
    texts = st.sampled_from([TEXT, STEPS, *TEXT.split(), " ", "\u9aa4" * 40, "a" * 40])
    stray = st.lists(st.integers(0, len(tokenizer) - 1), max_size=6).map(tuple)
    parts = st.lists(st.one_of(texts.map(functools.partial(encode, tokenizer)), stray), max_size=6)
    return parts.map(lambda parts: sum(parts, ()))


@pytest.mark.parametrize("make", TOKENIZERS)
def test_joined_pieces_are_the_decoded_text_for_every_id_sequence(make):
    tokenizer = make()

    @given(id_lists(tokenizer))
    def check(ids):
        pieces = decode_pieces(tokenizer, ids)
        assert len(pieces) == len(ids) and "".join(pieces) == decoded(tokenizer, ids)
        wanted = pieces_by_prefixes(tokenizer, ids)
        assert [p.strip(BROKEN) for p in pieces] == [p.strip(BROKEN) for p in wanted]

    check()


def many(tokenizer) -> SimpleNamespace:
    """The tokenizer as a ``decoding.Decoder``."""
    return SimpleNamespace(decode=lambda ids: [decoded(tokenizer, of_one) for of_one in ids])


@pytest.mark.parametrize("make", TOKENIZERS)
def test_texts_cut_anywhere_are_what_the_ids_add_and_agree_with_the_pieces_of_ids(make):
    tokenizer = make()

    @given(id_lists(tokenizer), id_lists(tokenizer), st.lists(st.integers(0, 60), max_size=4))
    def check(before, ids, places):
        cuts = sorted(min(place, len(ids)) for place in places)
        alone, after = added_texts(many(tokenizer), [((), ids, cuts), (before, ids, cuts)])
        assert len(alone) == len(after) == len(cuts) + 1 and "".join(alone) == decoded(tokenizer, ids)
        pieces = pieces_by_prefixes(tokenizer, ids)
        wanted = ["".join(pieces[a:b]) for a, b in pairwise([0, *cuts, len(ids)])]
        assert [text.strip(BROKEN) for text in alone] == [text.strip(BROKEN) for text in wanted]
        both, added = decoded(tokenizer, before + ids), "".join(after)
        kept = both.removesuffix(added)
        assert both == kept + added and decoded(tokenizer, before).startswith(kept)

    check()


def test_a_character_over_a_cut_belongs_to_what_follows_and_a_broken_one_stays_where_it_is():
    byte, end = encode(byte_level(), "\u4f60"), encode(byte_level(), "a")
    spans = [(end, end + byte, [2]), (end + byte[:-1], byte[-1:], []), (end, end + byte[:1], [1, 2])]
    assert added_texts(many(byte_level()), spans) == [["a", "\u4f60"], ["\u4f60"], ["a", BROKEN, ""]]
    ids = encode(byte_fallback(), "\u9aa4\u4f60")  # bytes alone, which are shown only when all are characters
    assert added_texts(many(byte_fallback()), [((), ids, [5])]) == [["\u9aa4", "\u4f60"]]


def test_a_character_belongs_to_the_token_that_completes_it():
    bytes_of = [f"<0x{byte:02X}>" for byte in "\u9aa4".encode()]
    ids = byte_fallback().convert_tokens_to_ids(["\u2581Step", "\u2581", "\u6b65", *bytes_of, "1", bytes_of[0], ":"])
    assert decode_pieces(byte_fallback(), ids) == ["Step", " ", "\u6b65", "", "", "\u9aa4", "1", "\ufffd", ":"]
    letters = byte_level().convert_tokens_to_ids(pre_tokenizers.ByteLevel(False).pre_tokenize_str("\u9aa4")[0][0])
    ids = [letters, *byte_level().encode("a")]
    assert decode_pieces(byte_level(), encode(byte_level(), "a\u00e9")) == ["a", "\u00e9"]


def test_bytes_that_are_no_character_after_all_are_taken_back():
    """sentencepiece's decoder shows a run of bytes as characters only if all of it is."""
    run = [f"<0x{byte:02X}>" for byte in (*"\u9aa4".encode(), 0xFF)]
    ids = byte_fallback().convert_tokens_to_ids([*run, "1"])
    assert decode_pieces(byte_fallback(), ids) == ["\ufffd", "\ufffd", "", "\ufffd\ufffd", "1"]


@pytest.mark.parametrize("make", TOKENIZERS)
@pytest.mark.parametrize("run", [40, 1000])
def test_text_after_a_long_run_of_broken_bytes_is_found_again(make, run):
    tokenizer = make()
    byte = encode(tokenizer, "\u9aa4")[0 if make is byte_level else 1]
    ids = (*encode(tokenizer, STEPS), *[byte] * run, *encode(tokenizer, STEPS))
    pieces = decode_pieces(tokenizer, ids)
    assert "".join(pieces) == decoded(tokenizer, ids)
    rest = len(encode(tokenizer, STEPS)) - 1
    assert pieces[-rest:] == pieces_by_prefixes(tokenizer, ids)[-rest:]


@pytest.mark.parametrize("make", TOKENIZERS)
def test_pieces_are_decoded_in_blocks_however_long_the_response_is(make):
    """So the work grows with the length, not with its square."""
    tokenizer, decoded_ids = make(), []

    class Counting:
        def decode(self, ids, **options):
            decoded_ids.append(len(ids))
            return tokenizer.decode(ids, **options)

    ids = encode(tokenizer, TEXT * 60)
    assert len(ids) > 1500
    assert "".join(decode_pieces(Counting(), ids)) == decoded(tokenizer, ids)
    assert max(decoded_ids[1:]) < 70 and sum(decoded_ids) < 50 * len(ids)


@pytest.mark.parametrize("make", TOKENIZERS)
def test_a_step_label_whose_characters_are_spread_over_tokens_is_found(make):
    tokenizer = make()
    config = MargeConfig(step_label=STEP_LABEL, cot_prefix="")
    pieces = functools.partial(decode_pieces, tokenizer)
    states = split_into_states(problem(), [guidance(encode(tokenizer, STEPS))], (), config, pieces)
    label = STEPS.index("3")
    assert [decoded(tokenizer, s.prefix_ids) for s in states] == ["", STEPS[:label], STEPS[: STEPS.index("7+1")]]
    assert not any(s.is_fallback for s in states)


def test_s0_is_the_cot_prefix_in_step_mode_and_nothing_in_tokens_mode():
    tokenizer = build_tokenizer()
    assert decoded(tokenizer, tokens.s0_token_ids(tokenizer, MargeConfig())) == MargeConfig().cot_prefix
    assert tokens.s0_token_ids(tokenizer, MargeConfig(split="tokens")) == ()


def test_a_cot_prefix_that_the_tokenizer_does_not_give_back_is_refused_with_both_texts():
    core = Tokenizer(models.WordLevel({"<unk>": 0, "Step": 1, "1": 2, ":": 3}, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.BertPreTokenizer(), decoders.Fuse()
    drops_spaces = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    with pytest.raises(ValueError, match=r"--marge.cot_prefix 'Step 1:' is 'Step1:' after it was encoded and decoded"):
        tokens.s0_token_ids(drops_spaces, MargeConfig(cot_prefix="Step 1:"))
    assert tokens.s0_token_ids(drops_spaces, MargeConfig(cot_prefix="Step")) == (1,)
    assert tokens.s0_token_ids(drops_spaces, MargeConfig(cot_prefix="Step 1:", split="tokens")) == ()


@pytest.fixture
def model(tmp_path):
    """A folder of a model with the EOS ids asked for; ``"config"``: 3 in the model's own config alone."""

    def save(eos) -> str:
        tokenizer = build_tokenizer()
        tokenizer.save_pretrained(tmp_path)
        if eos == "config":
            build_model(tokenizer, seed=0).config.save_pretrained(tmp_path)
            config = json.loads((tmp_path / "config.json").read_text())
            (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": 3}))
        elif eos is not None:
            GenerationConfig(eos_token_id=eos).save_pretrained(tmp_path)
        return str(tmp_path)

    return save


@pytest.mark.parametrize(
    ("eos", "ids"), [(2, {2}), (7, {2, 7}), ([5, 2, 9], {2, 5, 9}), ("config", {2, 3}), (None, {2})]
)
def test_a_response_ends_at_the_tokenizers_eos_and_at_those_of_the_generation_config(model, eos, ids):
    """vLLM stops at all of them; padding alone ends nothing."""
    tokenizer = build_tokenizer()
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 0)
    assert tokens.eos_token_ids(tokenizer, model(eos)) == ids


def test_a_model_with_a_vision_config_reads_texts_with_the_tokenizer_of_its_processor(tmp_path):
    """OpenRLHF's tokenizer is then a processor, which makes a batch of a text."""
    build_tokenizer().save_pretrained(tmp_path)
    of_images = dict(boi_token="<boi>", image_token="<img>", eoi_token="<eoi>")
    text = AutoTokenizer.from_pretrained(tmp_path, extra_special_tokens=of_images)
    processor = Gemma3Processor(Gemma3ImageProcessorPil(), text, chat_template=text.chat_template)
    processor.save_pretrained(tmp_path)
    Gemma3Config(eos_token_id=2).save_pretrained(tmp_path)
    model = SimpleNamespace(model_name_or_path=str(tmp_path))
    loaded = tokens.load_tokenizer(SimpleNamespace(actor=model, data=SimpleNamespace(disable_fast_tokenizer=False)))
    assert isinstance(loaded, Gemma3Processor)
    assert len(loaded(text="1+1?", add_special_tokens=False)["input_ids"]) == 1
    made = tokens.make_problem(loaded, "1+1?", "2", 20, None)
    assert made.prompt_ids == encode(text, "1+1?") and made.max_response_tokens == 20 - len(made.prompt_ids)
    s0 = tokens.s0_token_ids(loaded, MargeConfig())
    assert s0 == encode(text, MargeConfig().cot_prefix)
    assert "".join(decode_pieces(loaded, s0)) == MargeConfig().cot_prefix
    assert tokens.eos_token_ids(loaded, str(tmp_path)) == {2}


@pytest.mark.parametrize(
    ("text", "stop", "graded"),
    [
        (" 7.\n\nQuestion", ("\n\nQuestion",), " 7."),
        (" 7.\n\nQuestion: 1", ("Question: ", "\n\n"), " 7."),
        (" END. 7 STOP", ("STOP", "END"), " "),
        (" aXbc", ("Xbc", "bc"), " a"),  # both are complete at the same token; vLLM takes the first that it is given
        (" 7.", ("END",), " 7."),
        (" 7.", (), " 7."),
    ],
)
def test_a_completion_is_graded_up_to_the_stop_text_that_is_complete_first(text, stop, graded):
    assert before_stop(text, stop) == graded


class Wordy(Qwen2Tokenizer):
    """Decodes in a way of its own."""

    def _decode(self, *args, **kwargs):
        return "said: " + super()._decode(*args, **kwargs)


PLAIN, WORDY = build_tokenizer(), Wordy(vocab={chr(33 + i): i for i in range(291)}, merges=[], unk_token=None)


@given(st.lists(st.lists(st.integers(0, 290), max_size=12), max_size=6))
def test_many_rows_are_decoded_as_each_alone(rows):
    for tokenizer in (PLAIN, WORDY):
        assert tokens.decode_all(tokenizer, rows) == [tokenizer.decode(r, skip_special_tokens=False) for r in rows]
