"""Binary linear codes: parity-check matrices, and generator matrices from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from ..errors import InputError

Bits = Int[np.ndarray, "checks n"]

# Primitive polynomials over GF(2), the bit of value 2^i is the coefficient of x^i (Peterson 1961).
PRIMITIVE = {
    3: 0o13, 4: 0o23, 5: 0o45, 6: 0o103, 7: 0o211, 8: 0o435, 9: 0o1021, 10: 0o2011,
}  # fmt: skip


def as_parity(matrix: Any, name: str = "parity") -> Bits:
    """A matrix of zeros and ones in which no row and no column is zero; else `InputError`."""
    H = np.asarray(matrix)
    said = None
    if H.ndim != 2 or not H.size:
        said = f"shape {H.shape}"
    elif H.dtype.kind not in "fiub" or not np.isin(H, (0, 1)).all():
        said = "other values"
    elif not H.any(0).all() or not H.any(1).all():
        said = "a zero row" if H.any(0).all() else f"a zero column, {int(np.argmin(H.any(0)))}"
    if said:
        raise InputError(
            name, expected="a matrix (checks, bits) of 0 and 1 with every bit in some check",
            got=said, do="pass the parity-check matrix H with H c = 0 mod 2",
        )  # fmt: skip
    return H.astype(int)


def cyclic_code(generator: int, n: int) -> Bits:
    """The parity-check matrix (n - k, n) of a cyclic code: the shifts of its check polynomial.

    `generator` is g(x) as an integer, the bit of value 2^i being the coefficient of x^i;
    ``h(x) = (x^n - 1)/g(x)`` has degree k, and the rows are h reversed, shifted by 0 .. n-k-1.
    Raises `InputError` unless g divides x^n - 1.

    >>> from tenkai.algorithms import cyclic_code
    >>> cyclic_code(0b1011, 7)
    array([[1, 0, 1, 1, 1, 0, 0],
           [0, 1, 0, 1, 1, 1, 0],
           [0, 0, 1, 0, 1, 1, 1]])
    """
    check, rest = _divide((1 << n) | 1, generator)
    if rest or generator < 2 or check < 2:
        raise InputError(
            "generator", expected=f"a divisor of x^{n} - 1 of degree 1 to {n - 1}, bits as an int",
            got=oct(generator), do="look the generator polynomial up, or use bch(n, k)",
        )  # fmt: skip
    k = check.bit_length() - 1
    row = np.array([check >> (k - i) & 1 for i in range(k + 1)])
    H = np.zeros((n - k, n), int)
    for i in range(n - k):
        H[i, i : i + k + 1] = row
    return H


def bch(n: int, k: int) -> Bits:
    """The parity-check matrix of the narrow-sense binary BCH code of length n = 2^m - 1.

    Its generator polynomial is the least common multiple of the minimal polynomials of a, a^2,
    a^3, ... until its degree is n - k; a is a primitive element. BCH(31, 16) corrects 3 errors.
    Raises `InputError` for an n or a k that no such code has, naming those it could be.

    Source: Bose and Ray-Chaudhuri 1960.

    >>> from tenkai.algorithms import bch
    >>> bch(31, 16).shape, int(bch(31, 16).sum())
    ((15, 31), 120)
    """
    m = int(n).bit_length()
    if m not in PRIMITIVE or n != (1 << m) - 1:
        raise InputError(
            "n", expected="2^m - 1 with m from 3 to 10", got=repr(n), do="pass 31, 63, 127, ..."
        )
    generator, possible, used = 1, [], set()
    for power in range(1, n):
        coset = {power * 2**j % n for j in range(m)}
        if min(coset) in used:
            continue
        used.add(min(coset))
        generator = _multiply(generator, _minimal(coset, m))
        possible.append(n + 1 - generator.bit_length())
        if possible[-1] == k:
            return cyclic_code(generator, n)
    dimensions = ", ".join(str(p) for p in possible if p > 0)
    raise InputError(
        "k", expected=f"one of {dimensions} for n = {n}", got=repr(k), do="pick one of these"
    )


def _minimal(coset: set[int], m: int) -> int:
    """The product of (x - a^i) over a cyclotomic coset, by logarithms in GF(2^m)."""
    n = (1 << m) - 1
    power = [1]
    for _ in range(n - 1):
        x = power[-1] << 1
        power.append(x ^ PRIMITIVE[m] if x >> m else x)
    log = {x: i for i, x in enumerate(power)}
    coefficients = [1]  # of x^0, x^1, ...
    for i in coset:
        scaled = [power[(log[c] + i) % n] if c else 0 for c in coefficients]
        coefficients = [a ^ b for a, b in zip([*scaled, 0], [0, *coefficients], strict=True)]
    return sum(c << i for i, c in enumerate(coefficients))


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials over GF(2)."""
    product = 0
    while b:
        product ^= a * (b & 1)
        a, b = a << 1, b >> 1
    return product


def _divide(a: int, b: int) -> tuple[int, int]:
    """Quotient and remainder of polynomials over GF(2)."""
    quotient, size = 0, b.bit_length()
    while b and a.bit_length() >= size:
        shift = a.bit_length() - size
        quotient, a = quotient | 1 << shift, a ^ b << shift
    return quotient, a


def regular_ldpc(n: int, column: int = 3, row: int = 6, *, seed: int = 0) -> Bits:
    """A random regular low-density parity-check matrix, (n column / row, n), by Gallager.

    `column` bands; in each every bit is in one check of `row` bits. Raises `InputError` unless row
    divides n.

    Source: Gallager 1963, section 2.2.

    >>> from tenkai.algorithms import regular_ldpc
    >>> H = regular_ldpc(12, 3, 6)
    >>> H.shape, set(H.sum(0).tolist()), set(H.sum(1).tolist())
    ((6, 12), {3}, {6})
    """
    if row < 2 or column < 2 or n < row or n % row:
        raise InputError(
            "row", expected=f"a divisor of n = {n} above 1, and columns of weight 2 or more",
            got=f"row={row}, column={column}", do="change n or row",
        )  # fmt: skip
    rng = np.random.default_rng(seed)
    band = np.repeat(np.eye(n // row, dtype=int), row, axis=1)
    return np.concatenate([band[:, rng.permutation(n)] for _ in range(column)])


def generator_matrix(parity: Any) -> Bits:
    """A generator matrix G (k, n) with ``H G^T = 0 mod 2``: the codewords are ``u G mod 2``.

    k is n minus the rank of H, whose rows may depend on each other.

    >>> from tenkai.algorithms import cyclic_code, generator_matrix
    >>> H = cyclic_code(0b1011, 7)
    >>> G = generator_matrix(H)
    >>> G.shape, int((H @ G.T % 2).sum())
    ((4, 7), 0)
    """
    H = as_parity(parity).copy()
    n, pivots = H.shape[1], []
    for j in range(n):
        r = len(pivots)
        rows = np.flatnonzero(H[r:, j]) + r
        if not len(rows):
            continue
        H[[r, rows[0]]] = H[[rows[0], r]]
        H ^= np.outer(H[:, j] * (np.arange(len(H)) != r), H[r])
        pivots.append(j)
        if len(pivots) == len(H):
            break
    free = [j for j in range(n) if j not in pivots]
    if not free:
        raise InputError(
            "parity", expected="fewer independent checks than bits", got=f"rank {n}",
            do="remove checks: only the zero word fulfils all of these",
        )  # fmt: skip
    G = np.zeros((len(free), n), int)
    G[np.arange(len(free)), free] = 1
    G[:, pivots] = H[: len(pivots), free].T
    return G
