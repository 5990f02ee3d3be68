#!/usr/bin/env bash
# MARGE-RL on Qwen2-7B-Instruct (Table 1): App. B.1; states by "Step k:" labels, 4.42 a problem.
source "$(dirname "${BASH_SOURCE[0]}")/qwen2_7b_common.sh"
submit qwen2_7b_marge --experience_maker marge \
    --rollout.batch_size 2048 --train.batch_size 1024 --train.max_epochs 2 \
    --rollout.temperature 0.8 --rollout.top_p 0.95 --actor.adam.lr 1e-6 \
    --algo.kl.use_loss --algo.kl.estimator k3 \
    --marge.share_prefix "$@"
