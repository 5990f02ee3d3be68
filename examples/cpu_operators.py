"""Builds the C++ operators that DeepSpeed uses on a CPU, into TORCH_EXTENSIONS_DIR. Run by setup_cpu.sh.

The one for --ds.adam_offload is left out: it takes a minute more, and DeepSpeed builds it when it is first used.
"""

import os
import shutil
from pathlib import Path

from deepspeed.accelerator import get_accelerator

from openrlhf_marge.runs.cpu import cpu_environment

OPERATORS = (
    "ShareMemCommBuilder",  # collectives of one machine
    "FusedAdamBuilder",  # the optimizer of every run
)

folder = Path(os.environ["TORCH_EXTENSIONS_DIR"])
shutil.rmtree(folder, ignore_errors=True)  # a build that was stopped leaves a lock
folder.mkdir(parents=True)
# With it the folder is in use: otherwise a run that starts meanwhile takes the build's locks for left over. And its
# ninja is that of the runs: another version would build all of it again.
os.environ.update(cpu_environment())
for operator in OPERATORS:
    get_accelerator().create_op_builder(operator).load(verbose=False)
