"""How a comparison may end without a verdict."""


class Unparsable(ValueError):
    """One of the two strings cannot be read as mathematics."""


class GradingTimeout(Exception):
    """No verdict within the time for one comparison; the worker was killed."""


class GradingFailed(RuntimeError):
    """A comparison ended without a verdict for another reason, which the message names."""
