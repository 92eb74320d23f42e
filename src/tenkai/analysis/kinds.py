"""What an equilibrium is called, from its eigenvalues and what the members make of their signs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .roots import FLAT


class Spectrum(NamedTuple):
    """Eigenvalues (dim,), their spread over members, and the sign of each real part.

    The sign is 0 where the real part is zero or where a member disagrees; the spread is complex:
    that of the real parts plus i times that of the imaginary parts.
    """

    values: np.ndarray
    spread: np.ndarray
    sign: np.ndarray


def spectrum(mean: np.ndarray, members: np.ndarray) -> Spectrum:
    """Of the mean's Jacobian (dim, dim) and those of the members (members, dim, dim)."""
    values = np.linalg.eigvals(mean).astype(complex)
    values = values[np.lexsort((np.imag(values), -np.real(values)))]
    each = np.array([_matched(np.linalg.eigvals(j), values) for j in members])
    each = each if len(each) else values[None]
    spread = np.real(each).std(0) + 1j * np.imag(each).std(0)
    real = np.real(np.concatenate([values[None], each]))
    signs = np.where(np.abs(real) < FLAT, 0.0, np.sign(real))
    return Spectrum(values, spread, np.where((signs == signs[0]).all(0), signs[0], 0.0))


def _matched(values: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The eigenvalues in the order in which they are closest to others."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.abs(values[:, None] - to[None]))
    return values[rows][np.argsort(columns)]


def kind_of(s: Spectrum) -> tuple[str, bool | None]:
    """The name in standard terms, and whether it is stable (None: the members cannot tell)."""
    down, up, flat = s.sign < 0, s.sign > 0, s.sign == 0
    turning = np.abs(np.imag(s.values)) > FLAT
    stable = True if down.all() else False if up.any() else None
    if (np.abs(s.values) < FLAT).any():
        return "degenerate", stable
    if up.any() and down.any():
        return "saddle", False
    if flat.any():
        turns = turning[flat].all() and not up.any()
        zero = (np.abs(np.real(s.values[flat])) < FLAT).all()
        return ("centre" if turns and zero else "undecided focus" if turns else "undecided"), stable
    shape = "focus" if turning.any() else "node"
    return f"{'stable' if stable else 'unstable'} {shape}", stable
