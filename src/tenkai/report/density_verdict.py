"""How good a learned density is, beside simple ones, and what can be trusted about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .density_findings import Transporting, images_of
from .verdict import Verdict, verdict


@verdict.register(Transporting)
def _(estimator: Transporting) -> tuple[Verdict, Verdict]:
    """The held-out log density (of a match: its importance weights), and repeated values."""
    found: Any = estimator
    if images_of(found) is not None:
        from . import density_images as images

        findings = images.gathered(found)
        return images.quality(findings), images.copies(findings)
    return quality(found.held_out_, found.matched_), repeated(found.repeats_)


def quality(held: Any, matched: Any) -> Verdict:
    """Nats per row beside the best of the simple densities, or how near a match came."""
    if matched is not None:
        sentence = (
            f"effective sample size of {matched.draws:,} draws as importance samples of the "
            f"target; ELBO {matched.elbo:.4g}, log normaliser {matched.log_normaliser:.4g} ± "
            f"{matched.error:.1g}."
        )
        return Verdict("Match", f"{matched.effective:.0%}", sentence)
    if held is None:
        sentence = "not measured, no rows were left out."
        return Verdict("Held-out log density", "not measured", sentence)
    value = f"{held.mean:.4g} ± {held.error:.1g}"
    told = f"nats per row, on {held.rows:,} rows that the model did not train on"
    best = held.best
    if best is None:
        return Verdict("Held-out log density", value, f"{told}.")
    clear = np.isfinite(best.error) and abs(best.gain) > 2 * best.error
    size = f"{abs(best.gain):.2g} ± {best.error:.1g}"
    how = f"{size} {'more' if best.gain > 0 else 'less'} than" if clear else "no clear gain over"
    return Verdict(
        "Held-out log density", value,
        f"{told}: {how} the best simple density ({best.name}, {best.mean:.4g}).",
    )  # fmt: skip


def repeated(repeats: Any) -> Verdict:
    """Duplicate rows and atoms, on which a density can be made arbitrarily high."""
    if repeats is None:
        return Verdict("Repeated rows", "–", "no rows: the density was matched to a function.")
    atoms = len(repeats.atoms)
    value = f"{repeats.duplicates:,} of {repeats.rows:,}"
    if not repeats.notes:
        return Verdict("Repeated rows", value, "no row or value stands out by repeating.")
    columns = f"; {atoms} column{'s' * (atoms > 1)} with an atom" if atoms else ""
    sentence = f"rows that repeat an earlier one{columns}: on what repeats, a density can be "
    return Verdict("Repeated rows", value, sentence + "made arbitrarily high.")


def cost(nfe: Any, stiffness: float | None) -> Verdict | None:
    """What a row costs, of a continuous flow."""
    if nfe is None:
        return None
    sentence = (
        f"evaluations of the field per row (at most {nfe.max:.0f}) by an adaptive solver at "
        "tolerance 1e-5" + ("." if stiffness is None else f"; stiffness ratio {stiffness:.2g}.")
    )
    return Verdict("Cost", f"{nfe.mean:.0f}", sentence)


def nature(check: Any) -> Verdict | None:
    """An equation, or a discrete map."""
    if check is None:
        return None
    value = "an ODE" if check.is_ode else "a discrete map"
    return Verdict("What was learned", value, f"{check.message}.")
