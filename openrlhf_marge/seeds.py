"""Seeds that depend only on their purpose: not on the process, the order of events or the machine."""

from __future__ import annotations

import hashlib
import random


def stable_hash(*parts: object) -> int:
    """64 bits from the repr of the parts (Python's own hash changes from process to process)."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


def generator(*parts: object) -> random.Random:
    """A random generator for the purpose that the parts name."""
    return random.Random(stable_hash(*parts))
