"""Training data from a run's dump: preference pairs, SFT and process-reward rows (``cli/build_pairs.py``).

dump -> visits -> a builder's drafts, in token ids -> texts, checked against those ids -> rows

Imports no torch, ray, vllm, deepspeed, openrlhf or transformers: the tokenizer is injected as a ``Codec``.
"""

from openrlhf_marge.pairs.base import DPO, REASONS, SFT, Builder, Draft, Texts, Trainer, VisitGroups
from openrlhf_marge.pairs.building import build_rows
from openrlhf_marge.pairs.reading import read_visits
from openrlhf_marge.pairs.registry import BUILDERS
from openrlhf_marge.pairs.settings import PairSettings
from openrlhf_marge.pairs.texts import Codec

__all__ = [
    "BUILDERS",
    "DPO",
    "REASONS",
    "SFT",
    "Builder",
    "Codec",
    "Draft",
    "PairSettings",
    "Texts",
    "Trainer",
    "VisitGroups",
    "build_rows",
    "read_visits",
]
