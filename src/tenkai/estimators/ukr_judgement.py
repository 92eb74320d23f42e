"""What the numbers of a manifold say in words."""

from __future__ import annotations

import numpy as np

from ..manifolds.learning import Learned, Recipe
from ..records import Status

_NAMED = 5  # isolated rows that are named
_POOR = 0.5  # share of the variance that is missed


def status_of(learned: Learned, recipe: Recipe) -> Status:
    """Whether the manifold can be used, its cause where not, and a remedy."""
    made, error = learned.fit.status, learned.error
    notes = (*learned.notes, *_isolated(learned), *_apart(learned), *_degenerate(learned, recipe))
    if made.kind not in ("finished", "stopped"):
        return Status(made.kind, made.message, made.cause, made.remedy, made.ok, notes)
    of = "leave-one-out error" if recipe.left_out else "error"
    if not np.isfinite(error):
        return Status(
            "diverged", "the latents are not finite", "steps are too large",
            "lower learning_rate", False, notes,
        )  # fmt: skip
    told = f"{of} {error:.2%} of the variance"
    if error > _POOR:
        return Status(
            "poor", f"the surface explains little: {told}",
            "rows that lie near no surface of so few latents, too few steps, or a poor start",
            "raise n_components or steps, or pass another init", False, notes,
        )  # fmt: skip
    return Status("converged", f"converged: {told}", notes=notes)


def _isolated(learned: Learned) -> tuple[str, ...]:
    lonely = learned.isolated
    if not len(lonely):
        return ()
    names = ", ".join(map(str, lonely[:_NAMED])) + (", ..." if len(lonely) > _NAMED else "")
    which = f"row {names} is" if len(lonely) == 1 else f"{len(lonely)} rows ({names}) are"
    return (
        f"{which} isolated: no other latent is within reach of the kernel, so their own "
        "leave-one-out estimate says nothing",
    )


def _apart(learned: Learned) -> tuple[str, ...]:
    a = learned.apart
    if a is None:
        return ()
    return (
        f"{a.inducing:,} of {a.rows:,} rows trained, the others were projected: on a sample the "
        f"estimate by these alone misses {a.error:.2%} of the variance, the exact leave-one-out "
        f"estimate from all rows {a.exact:.2%}; the two differ by {a.between:.2%}",
    )


def _degenerate(learned: Learned, recipe: Recipe) -> tuple[str, ...]:
    if recipe.left_out or recipe.penalty > 0 or recipe.box is not None:
        return ()
    return (
        "rows are part of their own estimate and nothing bounds the latents: with enough steps "
        "they drift apart and the error says nothing; use leave_one_out, penalty or box",
    )
