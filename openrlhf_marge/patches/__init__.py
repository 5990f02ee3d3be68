"""Applies our series of unified diffs to the installed openrlhf: `python -m openrlhf_marge.patches --help`.

    *.patch --series--> FileChange    installed openrlhf --installed--> Installed (checksums of the wheel)
                            |                                    |
                            +---------------states---------------+--> Report --actions--> writing

The host is found and read but never imported.
"""

from .actions import apply, copy_to, report, revert, status
from .errors import PatchError
from .installed import OPENRLHF, Host, locate
from .states import FileReport, FileState, PatchState, Report

__all__ = [
    "OPENRLHF",
    "FileReport",
    "FileState",
    "Host",
    "PatchError",
    "PatchState",
    "Report",
    "apply",
    "copy_to",
    "locate",
    "report",
    "revert",
    "status",
]
