"""exp and its kin for loops to be vectorised: in float32 a few multiply-adds, where Numba calls the C library.

x = n log 2 + r with |r| <= log(2) / 2, exp(r) - 1 by its Taylor series to r^7 (what is left is 5e-9 of 1), and 2^n put
together from the bits of n. Each is within 3 units in the last place; what overflows is infinite, a NaN stays one. In
float64, where gradients are checked, they are the C library's.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from cnncli.kernels.vectors import I32, REALS

LOG2_E = np.float32(math.log2(math.e))
LN2_HIGH = np.float32(0.693359375)  # 10 bits: its product with any n is exact
LN2_LOW = np.float32(math.log(2) - 0.693359375)
ROUND = np.float32(1.5 * 2**23)  # added to a number it leaves the nearest integer in the low bits
ROUND_BITS = int(ROUND.view(np.int32))
INFINITE = np.float32(math.inf)
ROOT_BITS = int(np.float32(math.sqrt(0.5)).view(np.int32))
LOWEST, HIGHEST = np.float32(-105), np.float32(89)  # below exp is 0, above infinite
TAYLOR = tuple(np.float32(1 / math.factorial(k)) for k in range(2, 8))
ATANH = tuple(np.float32(1 / k) for k in range(3, 15, 2))  # to s^13: (1/9)^7 / 15 of the sum is left, 1.4e-8

OPTIONS = {"cache": True, "error_model": "numpy", "fastmath": {"contract"}}
OPTIONS |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@intrinsic
def _times_power(context, value, rounded):
    """value * 2^n, where rounded = n + ROUND: in two steps, as 2^n itself may not be a float32."""

    def codegen(context, builder, signature, arguments):
        value, rounded = arguments
        n = builder.sub(builder.bitcast(rounded, I32), ir.Constant(I32, ROUND_BITS))
        half = builder.ashr(n, ir.Constant(I32, 1))
        for power in (half, builder.sub(n, half)):
            bits = builder.shl(builder.add(power, ir.Constant(I32, 127)), ir.Constant(I32, 23))
            value = builder.fmul(value, builder.bitcast(bits, REALS[4]))
        return value

    return types.float32(value, rounded), codegen


@intrinsic
def _split(context, value):
    """(m, e) with value = m * 2^e and m from sqrt(1/2) to sqrt(2), of a positive normal number."""

    def codegen(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], I32)
        above = builder.sub(bits, ir.Constant(I32, ROOT_BITS))
        exponent = builder.ashr(above, ir.Constant(I32, 23))
        fraction = builder.sub(bits, builder.shl(exponent, ir.Constant(I32, 23)))
        parts = builder.bitcast(fraction, REALS[4]), builder.sitofp(exponent, REALS[4])
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(types.float32, 2)(value), codegen


@njit(**OPTIONS)
def _log(x):
    m, exponent = _split(x)
    s = (m - np.float32(1)) / (m + np.float32(1))  # log(m) = 2 atanh(s)
    a, b, c, d, _, _ = ATANH
    q = s * s
    more = np.float32(2) * (s + s * q * (a + q * (b + q * (c + q * d))))
    return exponent * LN2_HIGH + (more + exponent * LN2_LOW) if x < INFINITE else x


@njit(**OPTIONS)
def _reduced(x):
    """(exp(r) - 1, n + ROUND)."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    rounded = x * LOG2_E + ROUND
    n = rounded - ROUND
    r = x - n * LN2_HIGH
    r = r - n * LN2_LOW
    a, b, c, d, e, f = TAYLOR
    return r + r * r * (a + r * (b + r * (c + r * (d + r * (e + r * f))))), rounded


@njit(**OPTIONS)
def _exp(x):
    more, rounded = _reduced(x)
    return _times_power(np.float32(1) + more, rounded)


@njit(**OPTIONS)
def _expm1(x):
    more, rounded = _reduced(x)
    power = _times_power(np.float32(1), rounded)
    return power * more + (power - np.float32(1))


@njit(**OPTIONS)
def _tanh(x):
    # from 9.02 on it rounds to 1
    twice = np.float32(2) * abs(x)
    grown = _expm1(np.float32(20) if twice > np.float32(20) else twice)
    return math.copysign(grown / (grown + np.float32(2)), x)


@njit(**OPTIONS)
def _log1p(x):
    """log(1 + x) = 2 atanh(x / (2 + x)), of x from 0 to 1."""
    s = x / (np.float32(2) + x)
    a, b, c, d, e, f = ATANH
    q = s * s
    return np.float32(2) * (s + s * q * (a + q * (b + q * (c + q * (d + q * (e + q * f))))))


def exp(x):
    with np.errstate(over="ignore"):  # compiled, it does not warn either
        return np.exp(x)


def expm1(x):
    """exp(x) - 1, of x up to 80."""
    return np.expm1(x)


def tanh(x):
    return np.tanh(x)


def log1p(x):
    """log(1 + x), of x from 0 to 1."""
    return np.log1p(x)


def log(x):
    """The natural logarithm of a positive normal number."""
    return np.log(x)


def _own(function, single, double):
    @overload(function)
    def choose(x):
        if x == types.float32:
            return lambda x: single(x)
        return lambda x: double(x)


_own(exp, _exp, math.exp)
_own(expm1, _expm1, math.expm1)
_own(tanh, _tanh, math.tanh)
_own(log1p, _log1p, math.log1p)
_own(log, _log, math.log)
