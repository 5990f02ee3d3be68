"""The one exception of this package: an expected refusal, told to the user as one sentence without a traceback."""

COMMAND = "python -m openrlhf_marge.patches"


class PatchError(Exception):
    """What is wrong, in one sentence that names the file or flag and the mend."""
