import subprocess
import sys
from pathlib import Path

import pytest

import openrlhf_marge

ROOT = Path(openrlhf_marge.__file__).parent
COMMANDS = ["build_pairs", "compare", "evaluate", "explore", "figures", "marge_dpo", "model_card", "report"]
PACKAGES = ["compare", "evaluation", "figures", "grading", "loop", "model_card", "exploration", "pairs", "report"]
PACKAGES += [f"cli.{name}" for name in COMMANDS]
CORE = [*sorted(p.stem for p in ROOT.glob("*.py") if p.stem != "__init__"), *PACKAGES]


@pytest.mark.parametrize("module", CORE)
def test_the_core_loads_nothing_heavy(module):
    code = (
        f"import sys, openrlhf_marge.{module}; "
        "print([m for m in ('ray', 'vllm', 'deepspeed', 'openrlhf', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
