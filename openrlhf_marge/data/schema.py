"""The columns of a dump's files: a row is a completion."""

from __future__ import annotations

import pyarrow as pa

IDS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("step", pa.int64()),  # the rollout that sampled it, from 1 on
        ("group_id", pa.int64()),
        ("problem_id", pa.string()),
        ("prompt", pa.string()),
        ("label", pa.string()),
        ("prompt_ids", IDS),
        ("max_response_tokens", pa.int32()),
        ("guidance_id", pa.string()),  # null where s_0 was sampled without guidance
        ("guidance_ids", IDS),
        ("guidance_is_correct", pa.bool_()),
        ("guidance_pass_rate", pa.float64()),
        ("guidance_visit", pa.int32()),
        ("state_index", pa.int32()),
        ("n_states", pa.int32()),
        ("group_size", pa.int32()),  # completions of the state, this one included
        ("position", pa.float64()),
        ("prefix_length", pa.int32()),  # tokens of the state, s_0 included
        ("prefix_ids", IDS),
        ("segment", pa.int32()),
        ("value_gain", pa.float64()),
        ("chose_guidance", pa.bool_()),  # of s_0, where its own outcomes decided which guidance there is
        ("token_ids", IDS),
        ("reward", pa.float64()),  # as graded, before OpenRLHF's length penalties
        ("is_correct", pa.bool_()),
        ("truncated", pa.bool_()),
        ("advantage", pa.float64()),  # of that reward, or where its tokens have advantages of their own their mean
        ("advantages", pa.list_(pa.float64())),  # one per token, null for one that is not trained on
        ("log_probs", pa.list_(pa.float32())),
        ("extra_logs", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))),
        ("first_weight_version", pa.int64()),
        ("last_weight_version", pa.int64()),
    ]
)

STOP = b"stop"  # key of the schema's metadata: a JSON list
