#!/usr/bin/env bash
# Guided iterations of the whole stack on a GPU (whole_stack.py), with OpenRLHF and vLLM as they are installed.
#
#     bash tests/gpu/stack.sh OUT [-- OPTION ...]
#
# OUT, a new or empty folder, gets everything; the installed OpenRLHF stays as it is.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
out="${1:?usage: bash tests/gpu/stack.sh OUT [-- OPTION ...]}"
shift
if [ $# -gt 0 ]; then shift; fi
mkdir -p "$out"
out="$(cd "$out" && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
python3 -m openrlhf_marge.patches copy --to "$out/patched" >"$out/patches.log"
export PYTHONPATH="$out/patched:$PYTHONPATH"
exec python3 "$here/whole_stack.py" --out "$out" "$@"
