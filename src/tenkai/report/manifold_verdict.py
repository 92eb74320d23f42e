"""How good a manifold is, and what cannot be trusted about it."""

from __future__ import annotations

from typing import Any

from .manifold_findings import Unfolding
from .verdict import Verdict, verdict


@verdict.register(Unfolding)
def _(estimator: Unfolding) -> tuple[Verdict, Verdict]:
    found: Any = estimator
    rows = len(found.embedding_)
    return (
        error_of(found.error_, bool(found.leave_one_out)),
        isolated_of(len(found.isolated_), rows),
    )


def error_of(error: float, left_out: bool) -> Verdict:
    """The share of the variance that the surface misses."""
    how = "each left out of its own estimate" if left_out else "each in its own estimate"
    sentence = f"{error:.2%} of the variance of the rows is missed, {how}."
    return Verdict("Leave-one-out error" if left_out else "Error", f"{error:.2%}", sentence)


def isolated_of(isolated: int, rows: int) -> Verdict:
    """Rows near which nothing is."""
    if not isolated:
        return Verdict("Isolated rows", "none", "every latent has others within reach.")
    sentence = f"of {rows:,} rows have no other latent within reach of the kernel."
    return Verdict("Isolated rows", f"{isolated:,}", sentence)


def apart_of(apart: Any) -> Verdict | None:
    """What training on a part of the rows costs."""
    if apart is None:
        return None
    sentence = (
        f"of the variance lies between the estimate from {apart.inducing:,} rows and the exact one "
        f"from {apart.rows:,}; the first misses {apart.error:.2%}, the second {apart.exact:.2%}."
    )
    return Verdict("Part against all", f"{apart.between:.2%}", sentence)
