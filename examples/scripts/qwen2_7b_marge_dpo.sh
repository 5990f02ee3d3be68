#!/usr/bin/env bash
# MARGE-DPO on Qwen2-7B-Instruct (Table 1): App. B.1 and B.3; states by "Step k:" labels; 8 GPUs of 80 GB.
#   DATA     JSONL with the columns "input" and "label"; every input ends with
#            "Please reason step by step, and put your final answer within \boxed{}." (App. E)
#   HELDOUT  JSONL of held-out problems with the same columns
#   MODEL    default Qwen/Qwen2-7B-Instruct
#   OUT      run folder, default runs/qwen2_7b_marge_dpo; the same command goes on where it was stopped
#   KIND     marge (default), self_explore, outcome, sft, mcts or mcts_steps, for the paper's baselines
#   WANDB_API_KEY  logs the trainings to W&B, too, where it is set
#   DRY_RUN  set to 1 to print the words of the command, one a line, instead of running it
set -euo pipefail
: "${DATA:?set DATA to the JSONL file of the training problems}"
: "${HELDOUT:?set HELDOUT to the JSONL file of the held-out problems}"

explore=(
    --data.prompt_dataset "$DATA" --data.input_key input --data.label_key label --data.apply_chat_template
    --data.max_len 2048 --vllm.num_engines 8
)
train=(
    --ds.zero_stage 3 --ds.packing_samples --model.gradient_checkpointing_enable --train.micro_batch_size 2
    --logger.logging_steps 1
)
[ "${KIND:-marge}" = sft ] || train+=(--ref.offload) # train_sft has no reference
[ -z "${WANDB_API_KEY:-}" ] || train+=(--logger.wandb.key WANDB_API_KEY) # any text: the key is in the environment
command=(
    python3 -m openrlhf_marge.cli.marge_dpo --kind "${KIND:-marge}" --iterations 10 --patience 1
    --model "${MODEL:-Qwen/Qwen2-7B-Instruct}" --heldout "$HELDOUT" --out "${OUT:-runs/qwen2_7b_marge_dpo}"
    --explore "$(printf '%q ' "${explore[@]}")" --train "$(printf '%q ' "${train[@]}")" --evaluate "--max_len 2048"
)
if [ "${DRY_RUN:-0}" = 1 ]; then
    printf '%s\n' "${command[@]}"
else
    exec "${command[@]}" "$@"
fi
