# Flags that the four Qwen2-7B-Instruct runs share (paper Sec. 4.1, App. B; 8 GPUs of 80 GB); sourced, not run.
#   DATA     JSONL with the columns "input" and "label"; every input ends with
#            "Please reason step by step, and put your final answer within \boxed{}." (App. E)
#   MODEL    default Qwen/Qwen2-7B-Instruct
#   OUT      run folder, default runs/<name of the run>
#   RAY      address of the Ray dashboard, default http://127.0.0.1:8265
#   WANDB_API_KEY  logs to W&B, too, where it is set here and, before "ray start", on the nodes: a key among the flags
#            would be in what OpenRLHF and Ray print and keep
#   DRY_RUN  set to 1 to print the flags, one a line, instead of submitting
set -euo pipefail
: "${DATA:?set DATA to the JSONL file of the training problems}"
REWARD=$(python3 -c 'import openrlhf_marge; print(openrlhf_marge.REWARD_FILE)')

COMMON=(
    --actor.model_name_or_path "${MODEL:-Qwen/Qwen2-7B-Instruct}"
    --data.prompt_dataset "$DATA" --data.input_key input --data.label_key label --data.apply_chat_template
    --reward.remote_url "$REWARD"
    --actor.num_gpus_per_node 8 --ref.num_gpus_per_node 8 --critic.num_gpus_per_node 8
    --vllm.num_engines 8 --vllm.enable_prefix_caching --vllm.gpu_memory_utilization 0.6
    --train.colocate_all --vllm.enable_sleep --ds.enable_sleep
    --ds.zero_stage 3 --ds.packing_samples --actor.gradient_checkpointing_enable
    --rollout.micro_batch_size 8 --train.micro_batch_size 4
    --train.dynamic_batch_enable --train.max_tokens_per_gpu 16384
    --rollout.n_samples_per_prompt 8 --data.max_len 2048
    --train.num_episodes 10 --algo.kl.init_coef 0.01
    --logger.logging_steps 1 --ckpt.save_steps 20
)
[ -z "${WANDB_API_KEY:-}" ] || COMMON+=(--logger.wandb.key WANDB_API_KEY) # any text: the key is in the environment

submit() { # NAME FLAGS...
    local out=${OUT:-runs/$1}
    local flags=("${COMMON[@]}" --ckpt.path "$out/checkpoints" --ckpt.output_dir "$out/model"
        --logger.tensorboard_dir "$out/tensorboard" --logger.wandb.run_name "$1" "${@:2}")
    if [ "${DRY_RUN:-0}" = 1 ]; then
        printf '%s\n' "${flags[@]}"
    else
        mkdir -p "$out"
        python3 - "${flags[@]}" >"$out/summary.json" <<'PY' # for the report, the figures and the model card
import json, sys
from openrlhf_marge.data.redaction import redacted_words
flags = sys.argv[1:]
method = flags[flags.index("--experience_maker") + 1] if "--experience_maker" in flags else "default"
print(json.dumps({"method": method, "training_flags": redacted_words(flags)}, indent=1))
PY
        ray job submit --address "${RAY:-http://127.0.0.1:8265}" -- python3 -m openrlhf.cli.train_ppo_ray "${flags[@]}"
    fi
}
