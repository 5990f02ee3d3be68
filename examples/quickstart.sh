#!/usr/bin/env bash
# Trains a small model on a machine without a GPU through OpenRLHF's real stack, and shows what came of it.
#   bash examples/quickstart.sh [--out DIR] [--method marge|default] [--seed N] [any flag of train_ppo_ray]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
exec "${MARGE_VENV:-$root/.venv}/bin/python" "$root/examples/quickstart.py" "$@"
