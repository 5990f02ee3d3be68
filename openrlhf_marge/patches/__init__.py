"""Applies our series of unified diffs to the installed openrlhf: `python -m openrlhf_marge.patches --help`.

    *.patch --series--> Change    installed openrlhf --installed--> Installed (checksums of the wheel)
                          |                               |
                          +------------states-------------+--> Report --changing, copying--> files

The host is found and read but never imported. Beside every patched file its stock text is kept; a revert renames it.
"""

from .changing import apply, revert
from .copying import copy_to
from .installed import OPENRLHF, Host, PatchError, locate
from .states import FileState, PatchState, report, require

__all__ = [
    "OPENRLHF", "FileState", "Host", "PatchError", "PatchState", "apply", "copy_to", "locate", "report", "require",
    "revert",
]  # fmt: skip
