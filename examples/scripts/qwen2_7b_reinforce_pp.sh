#!/usr/bin/env bash
# The REINFORCE++ baseline of Table 1, with the settings of Table 6.
source "$(dirname "${BASH_SOURCE[0]}")/qwen2_7b_common.sh"
submit qwen2_7b_reinforce_pp --algo.advantage.estimator reinforce --algo.advantage.gamma 1 --actor.eps_clip 0.2 \
    --rollout.batch_size 128 --train.batch_size 512 --rollout.temperature 1.0 --rollout.top_p 1.0 \
    --actor.adam.lr 5e-7 "$@"
