"""Prompts, prefixes and pairs with tokenizers of the kinds that the paper's backbones have, made small here."""

import functools
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openrlhf", reason="the host is not installed")

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, GenerationConfig, LlamaTokenizer, PreTrainedTokenizerFast

from openrlhf_marge import MargeConfig
from openrlhf_marge.evaluation.prompting import Prompter
from openrlhf_marge.evaluation.prompts import ALPACA
from openrlhf_marge.grading import grade
from openrlhf_marge.host.launch.prompt_checks import show_prompt
from openrlhf_marge.host.rollout import tokens
from openrlhf_marge.host.rollout.given_guidance import given_guidance
from openrlhf_marge.method.guidance import without_end
from openrlhf_marge.models import TokenizerCodec
from openrlhf_marge.pairs.base import Draft
from openrlhf_marge.pairs.texts import checked

from factories import group

PROMPT = ALPACA.format(problem="What is 3+4?")
S0 = MargeConfig().cot_prefix
STEPS = (" 3+4=7\nStep 2: So \\boxed{7}.", "\n3+4=7", "3 4", " ", "\n\nStep 2: caf\u00e9 \u9aa4", ". The", ":\n")
TEXT = "\n".join([PROMPT, S0, *STEPS])


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """As sentencepiece's: bytes, characters, and some words with the space before them; and their merges."""
    known = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    characters = sorted({c for c in TEXT.replace(" ", "\u2581") if c.isascii()} | {"\u2581"})
    pairs = {}
    for word in ("\u2581Step", "\u2581Below", "\u2581The", "\u2581Let", "\u2581\u2581", ":\n"):
        pairs |= {(word[:end], word[end]): word[: end + 1] for end in range(1, len(word))}
    return {w: i for i, w in enumerate(dict.fromkeys([*known, *characters, *pairs.values()]))}, list(pairs)


@functools.cache
def metaspace(legacy: bool) -> LlamaTokenizer:
    """Llama 2's and Mistral's, and so MetaMath's, as transformers 5 loads them."""
    words, merges = vocabulary()
    return LlamaTokenizer(vocab=words, merges=merges, legacy=legacy, add_bos_token=True)


@functools.cache
def normalized() -> PreTrainedTokenizerFast:
    """The same as earlier versions converted them, into a tokenizer.json with a normalizer."""
    words, merges = vocabulary()
    core = Tokenizer(models.BPE(words, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    special = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


@functools.cache
def byte_level(bos: bool) -> PreTrainedTokenizerFast:
    """Llama 3's, which puts a BOS before texts, or Qwen's, which has none."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    core.train_from_iterator([TEXT] * 3, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{special[0]} $A", special_tokens=[(special[0], 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=special[0] if bos else None, eos_token=special[2])


# The tokenizer, and what a prompt without a chat template begins with.
KINDS = {
    "Llama 2, Mistral": (functools.partial(metaspace, False), "<s> "),
    "Llama 2, Mistral, legacy": (functools.partial(metaspace, True), "<s> "),
    "Llama 2, Mistral, tokenizer.json": (normalized, "<s>"),
    "Llama 3": (functools.partial(byte_level, True), "<|begin_of_text|>"),
    "Qwen": (functools.partial(byte_level, False), ""),
}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_a_prompt_that_writes_its_bos_has_the_tokens_of_the_evaluation_or_is_named(kind, tmp_path, capsys):
    """Evaluation lets the tokenizer put its BOS; OpenRLHF puts none, so a template writes it."""
    make, begin = KINDS[kind]
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    evaluated = tuple(Prompter(str(tmp_path), "alpaca", "").prompt("What is 3+4?").ids)
    assert tokens.encode(tokenizer, begin + PROMPT) == evaluated
    bos = begin.strip()
    bare = bos + PROMPT
    assert tokens.needs_blank_after_bos(tokenizer, bare) == begin.endswith(" ")
    assert not tokens.needs_blank_after_bos(tokenizer, begin + PROMPT)
    assert tokens.missing_bos(tokenizer, PROMPT) == (bos or None) and not tokens.missing_bos(tokenizer, bare)
    said = "[marge] prompts have no blank after their '<s>', without which the tokenizer takes them for the middle of"
    for chat in (False, True):  # a chat template's own text is what the model was trained with
        show_prompt(tokenizer, MargeConfig(), bare, chat=chat)
        assert (said in capsys.readouterr().out) == (begin.endswith(" ") and not chat)


def test_llamas_tokenizer_class_is_another_one_once_it_was_saved_and_a_blank_after_the_bos_is_the_same(tmp_path):
    """transformers 5 forgets ``legacy``, so that a trained model would be prompted with other tokens than the base."""
    ids = []
    for legacy in (True, False):
        metaspace(legacy).save_pretrained(tmp_path)
        saved = AutoTokenizer.from_pretrained(tmp_path)
        ids += [tokens.encode(tokenizer, f"<s>{blank}Below is") for tokenizer in (metaspace(legacy), saved)
                for blank in ("", " ")]  # fmt: skip
    first, *others = ids[1::2]
    assert others == [first] * 3 and metaspace(True).convert_ids_to_tokens(first)[:2] == ["<s>", "\u2581Below"]
    assert [bare == first for bare in ids[::2]] == [True, False, False, False]
    assert tokens.encode(normalized(), "<s>Below is") == first != tokens.encode(normalized(), "<s> Below is")


@kinds
def test_s0_and_a_guidance_given_with_the_data_are_the_text_that_was_given(kind):
    tokenizer = KINDS[kind][0]()

    @given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4).map("".join), st.booleans())
    def check(text, steps):
        config = MargeConfig(guidance_key="hit", split="step" if steps else "tokens")
        whole = tokens.s0_text(config) + text
        (ids,) = given_to(tokenizer, config, whole)
        s0 = tokens.s0_token_ids(tokenizer, config)
        assert ids[: len(s0)] == s0
        back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # A text's own first space is sentencepiece's.
        assert back == whole or (not steps and back == whole[1:] and whole[0] == " " and "Llama 2" in kind)

    def given_to(tokenizer, config, text):
        monkey.setattr("openrlhf_marge.host.rollout.given_guidance.read_rows", lambda *_: {"hit": [text]})
        data = SimpleNamespace(prompt_dataset="d", prompt_probs=None, prompt_split="train")
        prompts = SimpleNamespace(prompts=["q"], labels=["7"])
        return given_guidance(SimpleNamespace(marge=config, data=data), prompts, tokenizer).values()

    with pytest.MonkeyPatch.context() as monkey:
        check()


def test_a_problem_with_two_given_responses_is_refused(monkeypatch):
    """Each would be another problem of an episode, all begun with the last one."""
    tokenizer = next(iter(KINDS.values()))[0]()
    data = SimpleNamespace(prompt_dataset="d", prompt_probs=None, prompt_split="train")
    args = SimpleNamespace(marge=MargeConfig(guidance_key="hit", split="tokens"), data=data)
    prompts = SimpleNamespace(prompts=["q", "q", "r"], labels=["7", "7", "7"])
    name = "openrlhf_marge.host.rollout.given_guidance.read_rows"
    monkeypatch.setattr(name, lambda *_: {"hit": ["one", "one", "two"]})
    assert len(given_guidance(args, prompts, tokenizer)) == 2
    monkeypatch.setattr(name, lambda *_: {"hit": ["one", "two", "two"]})
    with pytest.raises(ValueError, match=r"d: the problem 'q' has two different responses in 'hit'"):
        given_guidance(args, prompts, tokenizer)


@kinds
def test_pairs_after_a_prompt_with_bos_and_after_a_state_survive_as_texts(kind, tmp_path):
    """What is sampled after a prefix begins with a space where the tokenizer has one, and keeps it."""
    make, begin = KINDS[kind]
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    codec = TokenizerCodec(str(tmp_path))
    prompt = begin + PROMPT
    prompt_ids, s0 = tokens.encode(tokenizer, prompt), tokens.s0_token_ids(tokenizer, MargeConfig())
    state = s0 + tokens.encode_after(tokenizer, S0, " 3+4=7\nStep 2:")
    ends = [(*tokens.encode_after(tokenizer, "Step 2:", text), codec.eos_id) for text in (" So 7.", " The 8.")]
    found = group()
    problem = SimpleNamespace(prompt=prompt, prompt_ids=prompt_ids)
    draft = Draft(group=SimpleNamespace(problem=problem, state=found.state), state_ids=state, responses=tuple(ends))
    left_out = Counter()
    ((_, texts),) = checked([draft], codec, left_out)
    assert not left_out and texts.prompt == prompt
    assert texts.state.removeprefix(" ") == f"{S0} 3+4=7\nStep 2:"
    assert [texts.response(i) for i in (0, 1)] == [f"{text}{codec.eos_text}" for text in (" So 7.", " The 8.")]


@pytest.mark.parametrize("eos", ["<|end_of_text|>", "<|eot_id|>"])
def test_a_model_with_several_eos_ends_its_responses_at_each_of_them(tmp_path, eos):
    """As Llama 3.1: the tokenizer's EOS ends a turn, the generation config has that of a text, too."""
    tokenizer = byte_level(True)
    tokenizer.save_pretrained(tmp_path)
    ids = tokenizer.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    GenerationConfig(eos_token_id=ids, bos_token_id=tokenizer.bos_token_id).save_pretrained(tmp_path)
    ends = tokens.eos_token_ids(tokenizer, str(tmp_path))
    assert ends == set(ids) and tokenizer.bos_token_id not in ends
    said = tokens.encode(tokenizer, "So \\boxed{7}.")
    response = (*said, tokenizer.convert_tokens_to_ids(eos))
    assert without_end(response, ends) == said
    text = tokenizer.decode(response, skip_special_tokens=False)
    assert text.endswith(eos) and grade(text, "7").correct and not grade(text, "8").correct
    assert TokenizerCodec(str(tmp_path)).other_eos == {ids[0]: "<|end_of_text|>"}
