"""The README.md of a trained model's folder, in Hugging Face's form (``cli/model_card.py``).

Imports no torch, ray, vllm, openrlhf or transformers; huggingface_hub writes the YAML head.
"""

from openrlhf_marge.model_card.facts import Trained, read_trained
from openrlhf_marge.model_card.text import MARKER, model_card

__all__ = ["MARKER", "Trained", "model_card", "read_trained"]
