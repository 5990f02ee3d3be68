#!/usr/bin/env bash
# Installs what the tests need if it is not there, then runs them all; arguments go to pytest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
cd "$root"
venv=${MARGE_VENV:-$root/.venv}
"$venv/bin/python" -m ruff check .
# Two at a time: a run of the stack spends most of its time importing, one process after the other.
exec "$venv/bin/python" -m pytest -n 2 --dist worksteal --durations 10 "$@"
