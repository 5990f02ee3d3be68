#!/usr/bin/env bash
# The GRPO baseline of Table 1: "the parameters of GRPO are the same as our method" (App. B.2).
source "$(dirname "${BASH_SOURCE[0]}")/qwen2_7b_common.sh"
submit qwen2_7b_grpo --algo.advantage.estimator group_norm \
    --rollout.batch_size 2048 --train.batch_size 1024 --train.max_epochs 2 \
    --rollout.temperature 0.8 --rollout.top_p 0.95 --actor.adam.lr 1e-6 \
    --algo.kl.use_loss --algo.kl.estimator k3 "$@"
