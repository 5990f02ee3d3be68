import subprocess
import sys

import pytest

from test_layers import LAYERS, ranks

COMMANDS = ["build_pairs", "compare", "evaluate", "explore", "figures", "marge_dpo", "model_card", "report"]
PACKAGES = [*ranks(LAYERS).keys() - {"host", "cli"}, *(f"cli.{name}" for name in COMMANDS)]
CORE = sorted(PACKAGES)


@pytest.mark.parametrize("module", CORE)
def test_the_core_loads_nothing_heavy(module):
    code = (
        f"import sys, openrlhf_marge.{module}; "
        "print([m for m in ('ray', 'vllm', 'deepspeed', 'openrlhf', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
