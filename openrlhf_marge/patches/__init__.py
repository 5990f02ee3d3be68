"""Applies our series of unified diffs to the installed openrlhf: `python -m openrlhf_marge.patches --help`.

    *.patch --series--> Change    installed openrlhf --installed--> Installed (checksums of the wheel)
                          |                               |
                          +------------states-------------+--> Report --actions--> writing

The host is found and read but never imported. Beside every patched file its stock text is kept; a revert renames it.
"""

from .actions import apply, copy_to, report, require, revert
from .installed import OPENRLHF, Host, PatchError, locate
from .states import FileState, PatchState, Report

__all__ = [
    "OPENRLHF",
    "FileState",
    "Host",
    "PatchError",
    "PatchState",
    "Report",
    "apply",
    "copy_to",
    "locate",
    "report",
    "require",
    "revert",
]
