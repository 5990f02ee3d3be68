#!/usr/bin/env bash
# Installs what the tests need if it is not there, then runs them all; arguments go to pytest.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bash "$root/examples/setup_cpu.sh"
# The report's page is tested in a browser: Debian's where it can be installed; without one those tests are skipped.
if ! command -v chromium google-chrome chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { timeout 60 apt-get update -qq && timeout 300 apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null ||
        echo "tests: no browser could be installed; the report's browser tests are skipped" >&2
fi
cd "$root"
venv=${MARGE_VENV:-$root/.venv}
"$venv/bin/python" -m ruff check .
# Two at a time: a run of the stack spends most of its time importing, one process after the other.
exec "$venv/bin/python" -m pytest -n 2 --dist worksteal --durations 10 "$@"
