#!/usr/bin/env bash
# MARGE-DPO, or one of its relatives, on a machine without a GPU: explores, builds pairs, trains with OpenRLHF's
# train_dpo or train_sft, twice.
#   bash examples/quickstart_dpo.sh [--out DIR] [--kind marge|self_explore|outcome|sft] [--seed N] [--iterations N]
#                                   [--explore FLAGS] [--pairs FLAGS] [--train FLAGS]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
exec "${MARGE_VENV:-$root/.venv}/bin/python" "$root/examples/quickstart_dpo.py" "$@"
