"""Entry point of `python -m openrlhf_marge.patches`."""

import sys

from .cli import main

sys.exit(main())
