"""Exceptions with which a comparison ends without a verdict."""


class Unparsable(ValueError):
    """One of the two strings cannot be read as mathematics."""


class GradingTimeout(Exception):
    """No verdict within the CPU seconds for one answer; the worker was killed."""


class GradingFailed(RuntimeError):
    """A comparison ended without a verdict for another reason of its own, which the message names."""


class GraderUnavailable(RuntimeError):
    """No verdict can be had, and no answer is to blame: the grader cannot run here, or gets no time on this machine.

    Never made into a verdict, which would then say something about the machine.
    """
