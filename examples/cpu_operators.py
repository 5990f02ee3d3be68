"""Builds the C++ operators that DeepSpeed uses on a CPU, into TORCH_EXTENSIONS_DIR. Run by setup_cpu.sh.

The one for --ds.adam_offload is left out: it takes a minute more, and DeepSpeed builds it when it is first used.
"""

import os
import shutil

from deepspeed.accelerator import get_accelerator

OPERATORS = (
    "ShareMemCommBuilder",  # collectives of one machine
    "FusedAdamBuilder",  # the optimizer of every run
)

shutil.rmtree(os.environ["TORCH_EXTENSIONS_DIR"], ignore_errors=True)  # a build that was stopped leaves a lock
for operator in OPERATORS:
    get_accelerator().create_op_builder(operator).load(verbose=False)
