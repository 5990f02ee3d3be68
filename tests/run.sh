#!/usr/bin/env bash
# Installs what the tests need if it is not there, then runs them: all, or with "fast" as the first argument those that
# start nothing of the stack and take no time. Further arguments go to pytest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
selected=()
if [ "${1:-}" = fast ]; then
    shift
    selected=(-m "not stack and not slow")
fi
bash "$root/examples/setup_cpu.sh"
# The report's page is tested in a browser: Debian's where it can be installed; without one those tests are skipped.
if ! command -v chromium google-chrome chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { timeout 60 apt-get update -qq && timeout 300 apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null ||
        echo "tests: no browser could be installed; the report's browser tests are skipped" >&2
fi
cd "$root"
venv=${MARGE_VENV:-$root/.venv}
"$venv/bin/python" -m ruff check .
"$venv/bin/python" -m ruff format --check --quiet .
# A run of the stack waits much of its time, for one process after the other: three at a time, also on two cores.
exec "$venv/bin/python" -m pytest -n 3 --dist worksteal --durations 10 "${selected[@]}" "$@"
