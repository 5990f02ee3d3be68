"""Value of a parsed expression at a point, in as many digits as mpmath works with, every step bounded.

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

MAX_BITS = 10**5  # of a value's size: 2^100000
MAX_TERMS = 2000  # of a sum or product
# sympy's name -> mpmath's function; the same name in most cases
SAME = "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh asinh acosh atanh exp factorial binomial"
FUNCTIONS: dict[str, Callable] = {
    **{name: getattr(mpmath, name) for name in re.findall(r"\w+", SAME)},
    "UnevaluatedExpr": lambda x: x,
    "Abs": abs,
    "floor": mpmath.floor,
    "ceiling": mpmath.ceil,
    "log": lambda x, base=mpmath.e: mpmath.log(x) / mpmath.log(base),
    "Max": lambda *xs: max(map(_real, xs)),
    "Min": lambda *xs: min(map(_real, xs)),
    "Mod": lambda a, b: a - b * mpmath.floor(a / b),
}


class Evaluation:
    """Values at one point; ``bits`` is the size of the largest step, ``extreme_bits`` of the largest or smallest."""

    def __init__(self, point: Mapping[str, mpmath.mpf]) -> None:
        self.point = dict(point)
        self.bits = self.extreme_bits = 0

    def value(self, node: sympy.Basic) -> mpmath.mpf:
        """ZeroDivisionError where the expression has no value; Unparsable for what is too large or unknown."""
        return self._bounded(self._value(node))

    def _value(self, node: sympy.Basic):
        if isinstance(node, sympy.Symbol):
            return self.point[node.name]
        if isinstance(node, sympy.Rational):
            return mpmath.mpf(node.p) / node.q
        if node is sympy.I:
            return mpmath.mpc(0, 1)
        if node in (sympy.oo, -sympy.oo):
            return mpmath.inf if node is sympy.oo else -mpmath.inf
        if isinstance(node, (sympy.Float, sympy.NumberSymbol)):
            return mpmath.mpf(node._to_mpmath(mpmath.mp.prec))
        if isinstance(node, sympy.Pow):
            return self._power(node)
        if isinstance(node, (sympy.Sum, sympy.Product)):
            return self._series(node)
        return self._function(node)

    def _function(self, node: sympy.Basic):
        name = type(node).__name__
        if name not in (*FUNCTIONS, "Add", "Mul"):
            raise Unparsable(f"{name} in an expression")
        arguments = [self.value(argument) for argument in node.args]
        if name in ("Add", "Mul"):
            operate = add if name == "Add" else mul
            return reduce(lambda a, b: self._bounded(operate(a, b)), arguments)
        if name in ("factorial", "binomial") and any(abs(a) > 10**5 for a in arguments):
            raise Unparsable("a factorial of more than 100000")
        return FUNCTIONS[name](*arguments)

    def _power(self, node: sympy.Pow):
        base, exponent = (self.value(argument) for argument in node.args)
        if base == 0 and _real(exponent) < 0:
            raise ZeroDivisionError
        size = abs(mpmath.mag(base)) if base else 0
        if size * abs(exponent) > MAX_BITS:
            raise Unparsable("a power that is too large")
        if _is_odd_root(node.args[1]) and isinstance(base, mpmath.mpf) and base < 0:
            return -((-base) ** exponent)  # the real root, as \\sqrt[3]{-8} is meant
        return base**exponent

    def _series(self, node: sympy.Sum | sympy.Product):
        if len(node.limits) != 1:
            raise Unparsable("a sum over several indices")
        index, *ends = node.limits[0]
        low, high = (_real(self.value(end)) for end in ends)
        if not (low == mpmath.floor(low) and high == mpmath.floor(high)) or high - low > MAX_TERMS:
            raise Unparsable(f"a sum or product of more than {MAX_TERMS} terms, or without integer bounds")
        operate, total = (add, mpmath.mpf(0)) if isinstance(node, sympy.Sum) else (mul, mpmath.mpf(1))
        before = self.point.get(index.name)
        for i in range(int(high - low) + 1):
            self.point[index.name] = low + i
            total = self._bounded(operate(total, self.value(node.function)))
        self.point[index.name] = before
        return total

    def _bounded(self, value):
        if mpmath.isnan(value):
            raise ZeroDivisionError
        if value and not mpmath.isinf(value):
            bits = int(mpmath.mag(value))
            if abs(bits) > MAX_BITS:
                raise Unparsable("a value that is too large")
            self.bits, self.extreme_bits = max(self.bits, bits), max(self.extreme_bits, abs(bits))
        return value


def _is_odd_root(exponent: sympy.Basic) -> bool:
    return isinstance(exponent, sympy.Rational) and exponent.p == 1 and exponent.q % 2 == 1 and exponent.q > 1


def _real(value) -> mpmath.mpf:
    if isinstance(value, mpmath.mpc):
        if abs(value.imag) > mpmath.mpf(10) ** (10 - mpmath.mp.dps):
            raise ZeroDivisionError  # no order among complex numbers
        return value.real
    return mpmath.mpf(value)
