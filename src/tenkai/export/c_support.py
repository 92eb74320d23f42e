"""C functions that an exported header takes along where it needs them, for double and float.

In each text ``T`` stands for the type, ``@`` for the prefix of names, ``~`` for the suffix of the
functions of `<math.h>` and ``#`` for that of numbers.
"""

from __future__ import annotations

SUPPORT: dict[str, str] = {
    # In a loop of their own each: compilers vectorise a clamp, and a fraction of polynomials, but
    # not both in one, because they make a branch of each clamped case.
    "tanh_limit_double": """\
/* Where tanh is 1 to the last digit, it is computed at the last place where it is not. */
static inline double @tanh_limit(double x)
{
    x = x > 20.0 ? 20.0 : x;
    return x < -20.0 ? -20.0 : x;
}
""",
    "tanh_limit_float": """\
/* Where tanh is 1 to the last digit, it is computed at the last place where it is not. */
static inline float @tanh_limit(float x)
{
    x = x > 9.0f ? 9.0f : x;
    return x < -9.0f ? -9.0f : x;
}
""",
    "tanh_core_double": """\
/* tanh up to 20: Lambert's continued fraction of x / 16, doubled four times; it has no branch. */
static inline double @tanh_core(double x)
{
    const double a = 0.0625 * x, s = a * a;
    double p = a * (34459425.0 + s * (4729725.0 + s * (135135.0 + s * (990.0 + s))));
    double q = 34459425.0 + s * (16216200.0 + s * (945945.0 + s * (13860.0 + s * 45.0)));
    double t;
    t = 2.0 * p * q; q = p * p + q * q; p = t;
    t = 2.0 * p * q; q = p * p + q * q; p = t;
    t = 2.0 * p * q; q = p * p + q * q; p = t;
    t = 2.0 * p * q; q = p * p + q * q;
    return t / q;
}
""",
    "tanh_core_float": """\
/* tanh up to 9: Lambert's continued fraction of x / 4, doubled twice; it has no branch. */
static inline float @tanh_core(float x)
{
    const float a = 0.25f * x, s = a * a;
    float p = a * (945.0f + s * (105.0f + s)), q = 945.0f + s * (420.0f + s * 15.0f), t;
    t = 2.0f * p * q; q = p * p + q * q; p = t;
    t = 2.0f * p * q; q = p * p + q * q;
    return t / q;
}
""",
    "logistic": """\
static inline T @logistic(T x) { return 1.0# / (1.0# + exp~(-x)); }
""",
    "sign": """\
static inline T @sign(T x) { return x > 0 ? 1.0# : (x < 0 ? -1.0# : x); }
""",
    "max": """\
/* The greater one; not a number where one is not. */
static inline T @max(T a, T b) { return a > b || a != a ? a : b; }
""",
    "min": """\
/* The smaller one; not a number where one is not. */
static inline T @min(T a, T b) { return a < b || a != a ? a : b; }
""",
    "greater": """\
static inline T @greater(T a, T b) { return a > b ? a : b; }
""",
    "lesser": """\
static inline T @lesser(T a, T b) { return a < b ? a : b; }
""",
    "lower": """\
static inline int @lower(T a, T b) { return a < b; }
""",
    "round_even": """\
/* The nearest whole number; halves go to the even one. */
static inline T @round_even(T x)
{
    const T r = round~(x);
    return fabs~(x - trunc~(x)) == 0.5# ? 2.0# * round~(0.5# * x) : r;
}
""",
    "digamma": """\
/* The derivative of log Gamma: shifted up, then Stirling's series. */
static inline T @digamma(T given)
{
    const int low = given < 0.5#;
    T z = low ? 1.0# - given : given, out = 0.0#, w;
    for (; z < 10.0#; z += 1.0#) {
        out -= 1.0# / z;
    }
    w = 1.0# / (z * z);
    out += log~(z) - 0.5# / z - w * (1.0# / 12.0# - w * (1.0# / 120.0# - w * (1.0# / 252.0#
        - w * (1.0# / 240.0# - w * (1.0# / 132.0# - w * (691.0# / 32760.0# - w / 12.0#))))));
    return low ? out - 3.14159265358979323846# / tan~(3.14159265358979323846# * given) : out;
}
""",
    "erf_inv": """\
/* Inverse error function: Winitzki's start, then Halley's steps on the smaller tail. */
static inline T @erf_inv(T given)
{
    const double a = given < 0 ? -(double)given : (double)given;
    const double b = a < 1.0 ? a : 0.9999999999999999, r = log1p(-b * b);
    const double part = 4.3307467508 + 0.5 * r;
    double y = sqrt(fmax(sqrt(part * part - r / 0.147) - part, 0.0));
    for (int i = 0; i < 4; i++) {
        const double off = a < 0.5 ? erf(y) - a : (1.0 - a) - erfc(y);
        const double step = off / (1.1283791670955126 * exp(-y * y));
        y -= step / (1.0 + y * step);
    }
    if (!(a < 1.0)) {
        y = a == 1.0 ? INFINITY : NAN;
    }
    return (T)(given < 0 ? -y : y);
}
""",
    "logaddexp": """\
static inline T @logaddexp(T a, T b)
{
    const T top = a > b ? a : b, low = a > b ? b : a;
    return a == b ? a + 0.69314718055994530942# : top + log1p~(exp~(low - top));
}
""",
    "before": """\
/* Whether a comes before b in a sorted array; what is not a number comes last. */
static inline int @before(T a, T b) { return a < b || (b != b && a == a); }
""",
    "below": """\
/* a < b in the total order: -0 before 0, what is not a number last. */
static inline int @below(T a, T b)
{
    return a < b || (b != b && a == a) || (a == b && signbit(a) && !signbit(b));
}
""",
    "divide": """\
/* Whole numbers divided towards zero; -1 where b is zero. */
static inline T @divide(T a, T b) { return b == 0 ? (T)-1 : (T)(a / b); }
""",
    "remainder": """\
static inline T @remainder(T a, T b) { return b == 0 ? a : (T)(a % b); }
""",
    "start": """\
/* Where a block begins: moved inside, between 0 and last. */
static inline size_t @start(long long place, size_t last)
{
    return place < 0 ? 0 : ((size_t)place > last ? last : (size_t)place);
}
""",
    "inside": """\
static inline int @inside(long long place, size_t last)
{
    return place >= 0 && (size_t)place <= last;
}
""",
}


def power_source(exponent: int) -> str:
    """``x ** exponent`` by repeated squaring."""
    lines = ["static inline T @NAME(T x)", "{"]
    n, base, squares = abs(exponent), "x", 0
    factors: list[str] = []
    while n:
        if n & 1:
            factors.append(base)
        n >>= 1
        if n:
            squares += 1
            lines.append(f"    const T x{2**squares} = {base} * {base};")
            base = f"x{2**squares}"
    product = " * ".join(factors) or "1.0#"
    lines.append(f"    return {f'1.0# / ({product})' if exponent < 0 else product};")
    return "\n".join([*lines, "}", ""])
