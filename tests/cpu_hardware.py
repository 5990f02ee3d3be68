"""What a launch of examples/scripts asks for where a small stand-in runs on a CPU."""

from backbones import Hardware  # examples/scripts is on the path of who imports this

CPU = Hardware(
    name="a CPU",
    launch="""
        --actor.num_gpus_per_node 1 --ref.num_gpus_per_node 1 --critic.num_gpus_per_node 1
        --vllm.num_engines 1 --vllm.sync_backend gloo --vllm.enforce_eager
        --ds.zero_stage 0 --ds.attn_implementation eager --rollout.micro_batch_size 8 --train.micro_batch_size 8
    """,
    explore="--vllm.num_engines 1",
    train="--ds.zero_stage 0 --ds.attn_implementation eager --train.micro_batch_size 8",
)
