#!/usr/bin/env bash
# Guided iterations of the whole stack on a GPU (whole_stack.py): with what is installed, or with parts that
# engine_parts.py made.
#
#     bash tests/gpu/stack.sh OUT [--wheels DIR ...] [-- OPTION ...]
#
# OUT, a new or empty folder, gets everything; the installed OpenRLHF stays as it is. Each DIR is a part. Parts that
# came in earlier calls are kept in MARGE_ENGINE (/tmp/openrlhf_marge_engine); it ends with 2 while one is missing.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
usage="usage: bash tests/gpu/stack.sh OUT [--wheels DIR ...] [-- OPTION ...]"
out="${1:?$usage}"
shift
mkdir -p "$out"
out="$(cd "$out" && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
if [ "${1:-}" = "--wheels" ]; then
    shift
    parts=()
    while [ $# -gt 0 ] && [ "$1" != "--" ]; do
        parts+=("$1")
        shift
    done
    engine="${MARGE_ENGINE:-/tmp/openrlhf_marge_engine}"
    python3 "$here/bring_parts.py" "$engine" "${parts[@]}"
    export PYTHONPATH="$PYTHONPATH:$engine/site"
    export VLLM_USE_FLASHINFER_SAMPLER=0 # no part holds FlashInfer, which vLLM loads unless it is told not to
fi
if [ $# -gt 0 ] && [ "$1" != "--" ]; then
    echo "$usage" >&2
    exit 1
fi
if [ $# -gt 0 ]; then shift; fi
python3 -m openrlhf_marge.patches copy --to "$out/patched" >"$out/patches.log"
export PYTHONPATH="$out/patched:$PYTHONPATH"
exec python3 "$here/whole_stack.py" --out "$out" "$@"
