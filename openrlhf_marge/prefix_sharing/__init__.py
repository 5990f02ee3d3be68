"""Rows of tokens with common prefixes, computed as a forest of distinct tokens (torch and transformers only)."""

from openrlhf_marge.prefix_sharing.batches import split_evenly, whole_trees
from openrlhf_marge.prefix_sharing.forest import Forest, grow
from openrlhf_marge.prefix_sharing.forward import ActionLogProbs, action_log_probs

__all__ = ["ActionLogProbs", "Forest", "action_log_probs", "grow", "split_evenly", "whole_trees"]
