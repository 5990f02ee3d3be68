"""How a command ends: what it says, and its exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable

from openrlhf_marge.data.redaction import redacted


def exit_status(command: str, work: Callable[[], str], after_failure: str = "") -> int:
    """Do the work and print what it returns: 0; 2 with a sentence for bad input, 1 for work that failed.

    ValueError and OSError are bad input, RuntimeError is a failure; ``after_failure`` ends its sentence. Secrets are
    left out of what is printed. What is said of bad input is one line, whatever the input holds.
    """
    try:
        print(redacted(work()))
    except (ValueError, OSError) as e:
        print(f"{command}: error: {redacted(' '.join(str(e).splitlines()))}", file=sys.stderr)
        return 2
    except RuntimeError as e:
        print(f"{command}: error: {redacted(str(e))}{after_failure}", file=sys.stderr)
        return 1
    return 0
