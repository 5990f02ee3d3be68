#!/usr/bin/env bash
# MARGE against GRPO, REINFORCE++ and PPO on the embedded problems, with equal generated tokens, without a GPU.
#   bash examples/compare_cpu.sh [--out DIR] [--seeds N...] [--file FILE.toml]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
export DS_ACCELERATOR=cpu
exec "${MARGE_VENV:-$root/.venv}/bin/python" "$root/examples/compare_cpu.py" "$@"
