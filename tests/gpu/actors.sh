#!/usr/bin/env bash
# The patched actors of OpenRLHF on a GPU (actors.py): with what is installed, or with the wheels of a folder.
#
#     bash tests/gpu/actors.sh OUT [WHEELS] [-- OPTION ...]
#
# OUT, a new or empty folder, gets everything; WHEELS is a folder that wheels.py made.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
usage="usage: bash tests/gpu/actors.sh OUT [WHEELS] [-- OPTION ...]"
out="${1:?$usage}"
shift
mkdir -p "$out"
out="$(cd "$out" && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
if [ $# -gt 0 ] && [ "$1" != "--" ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$out/site" "$1"/*.whl
    export PYTHONPATH="$PYTHONPATH:$out/site"
    shift
fi
if [ $# -gt 0 ]; then shift; fi
python3 -c "import importlib.util as u, sys; sys.exit(u.find_spec('vllm') is None)" || export PYTHONPATH="$PYTHONPATH:$here/stand_ins/engine"
# The patched one is a copy: the installed one, which it is compared with, may be as published.
python3 -m openrlhf_marge.patches copy --to "$out/patched" >"$out/patches.log"
stock="$PYTHONPATH"
export PYTHONPATH="$out/patched:$PYTHONPATH"
exec python3 "$here/actors.py" --out "$out" --stock "$stock" "$@"
