#!/usr/bin/env bash
# Where guided exploration pays and where not: methods over regimes, at equal generated tokens, without a GPU.
#   bash examples/map.sh [--tier 1|2|3] [--regimes NAME ...] [--methods NAME ...] [--seeds N ...] [--hours H] [--tables]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
export DS_ACCELERATOR=cpu
exec "${MARGE_VENV:-$root/.venv}/bin/python" "$root/examples/map/run.py" "$@"
