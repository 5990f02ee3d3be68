"""Value of a parsed expression at a point, in 300 digits, every step bounded.

The tree is sympy's, parsed without evaluation; the arithmetic is mpmath's, whose numbers keep their size in an
exponent, so that a tower of powers costs nothing and is refused by its size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import reduce
from operator import add, mul

import mpmath
import sympy

from openrlhf_marge.grading.errors import Unparsable

DIGITS = 300
MAX_BITS = 10**5  # of a value's size: 2^100000
MAX_TERMS = 2000  # of a sum or product
# sympy's name -> mpmath's function; the same name in most cases
SAME = "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh asinh acosh atanh exp factorial binomial"
FUNCTIONS: dict[str, Callable] = {
    **{name: getattr(mpmath, name) for name in re.findall(r"\w+", SAME)},
    "Add": lambda *xs: reduce(lambda a, b: _bounded(a + b), xs),
    "Mul": lambda *xs: reduce(lambda a, b: _bounded(a * b), xs),
    "UnevaluatedExpr": lambda x: x,
    "Abs": abs,
    "floor": mpmath.floor,
    "ceiling": mpmath.ceil,
    "log": lambda x, base=mpmath.e: mpmath.log(x) / mpmath.log(base),
    "Max": lambda *xs: max(map(_real, xs)),
    "Min": lambda *xs: min(map(_real, xs)),
    "Mod": lambda a, b: a - b * mpmath.floor(a / b),
}


def evaluate(node: sympy.Basic, point: Mapping[str, mpmath.mpf]) -> mpmath.mpf:
    """ZeroDivisionError where the expression has no value there; Unparsable for what is too large or unknown."""
    return _bounded(_value(node, point))


def _value(node: sympy.Basic, point: Mapping[str, mpmath.mpf]):
    if isinstance(node, sympy.Symbol):
        return point[node.name]
    if isinstance(node, sympy.Rational):
        return mpmath.mpf(node.p) / node.q
    if node is sympy.I:
        return mpmath.mpc(0, 1)
    if node in (sympy.oo, -sympy.oo):
        return mpmath.inf if node is sympy.oo else -mpmath.inf
    if isinstance(node, (sympy.Float, sympy.NumberSymbol)):
        return mpmath.mpf(node._to_mpmath(mpmath.mp.prec))
    if isinstance(node, sympy.Pow):
        return _power(node, point)
    if isinstance(node, (sympy.Sum, sympy.Product)):
        return _series(node, point)
    name = type(node).__name__
    if name not in FUNCTIONS:
        raise Unparsable(f"{name} in an expression")
    arguments = [evaluate(argument, point) for argument in node.args]
    if name in ("factorial", "binomial") and any(abs(a) > 10**5 for a in arguments):
        raise Unparsable("a factorial of more than 100000")
    return FUNCTIONS[name](*arguments)


def _power(node: sympy.Pow, point: Mapping[str, mpmath.mpf]):
    base, exponent = (evaluate(argument, point) for argument in node.args)
    if base == 0 and _real(exponent) < 0:
        raise ZeroDivisionError
    size = abs(mpmath.mag(base)) if base else 0
    if size * abs(exponent) > MAX_BITS:
        raise Unparsable("a power that is too large")
    root = _odd_root(node.args[1])
    if root is not None and isinstance(base, mpmath.mpf) and base < 0:
        return -((-base) ** exponent)  # the real root, as \\sqrt[3]{-8} is meant
    return base**exponent


def _odd_root(exponent: sympy.Basic) -> int | None:
    is_root = isinstance(exponent, sympy.Rational) and exponent.p == 1 and exponent.q % 2 == 1 and exponent.q > 1
    return exponent.q if is_root else None


def _series(node, point: Mapping[str, mpmath.mpf]):
    if len(node.limits) != 1:
        raise Unparsable("a sum over several indices")
    index, *ends = node.limits[0]
    low, high = (_real(evaluate(end, point)) for end in ends)
    if not (low == mpmath.floor(low) and high == mpmath.floor(high)) or high - low > MAX_TERMS:
        raise Unparsable(f"a sum or product of more than {MAX_TERMS} terms, or without integer bounds")
    terms = [evaluate(node.function, {**point, index.name: low + i}) for i in range(int(high - low) + 1)]
    is_sum = isinstance(node, sympy.Sum)
    return reduce(add if is_sum else mul, terms, mpmath.mpf(0 if is_sum else 1))


def _real(value) -> mpmath.mpf:
    if isinstance(value, mpmath.mpc):
        if abs(value.imag) > mpmath.mpf(10) ** -200:
            raise ZeroDivisionError  # no order among complex numbers
        return value.real
    return mpmath.mpf(value)


def _bounded(value):
    if mpmath.isnan(value):
        raise ZeroDivisionError
    if value and not mpmath.isinf(value) and abs(mpmath.mag(value)) > MAX_BITS:
        raise Unparsable("a value that is too large")
    return value
