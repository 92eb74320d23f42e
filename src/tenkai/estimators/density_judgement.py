"""What the numbers of a learned density say in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..flows import evaluation
from ..flows.continuous import ContinuousFlow
from ..flows.density import Density
from ..flows.held_out import HeldOutDensity
from ..flows.target import Matched
from ..records import Discretisation, Status

_LOOKED_AT = 500  # rows on which a solve is judged
_PATHS = 50  # rows along whose paths eigenvalues are taken
_TOLERANCE = 0.02  # nats that the log density may move
_BROKEN = 25.0  # times as far
_CLEAR = 2.0  # standard errors
_POOR = 0.05  # share of draws that importance sampling keeps


class Wording(NamedTuple):
    """What a status says of a table or of images: one of them, and what to do."""

    one: str
    diverged: str
    overfitted: str
    beaten: str
    finer: str


TABLE = Wording(
    "row", "raise noise=, decay= or kinetic=, or look at outliers",
    "raise noise=, decay= or kinetic=, use more members, or more rows",
    "use that one, or raise members=, noise= or steps=", "FFJORD(solver=Grid(16))",
)  # fmt: skip
IMAGES = Wording(
    "image", "raise decay= or kinetic=, or lower rate=",
    "raise decay= or kinetic=, or pass more images",
    "use that one, or raise steps=, or pass a wider flow", "MultiscaleFFJORD(solver=Grid(16))",
)  # fmt: skip


class Evaluations(NamedTuple):
    """Evaluations of the field per row, at rtol = atol = 1e-5."""

    mean: float
    max: float


class Solves(NamedTuple):
    """What the solves of a continuous density show: cost, stiffness, steps that matter."""

    nfe: Evaluations
    stiffness: float | None  # not of images
    discretisation: Discretisation
    notes: tuple[str, ...]


def examine(
    density: Density, x: np.ndarray, context: np.ndarray | None, seed: int
) -> Solves | None:
    """Solve some rows again, adaptively and on finer grids; None for discrete flows."""
    flow = density.best
    if not isinstance(flow, ContinuousFlow):
        return None
    few = np.sort(np.random.default_rng(seed).permutation(len(x))[:_LOOKED_AT])
    z, c = density.scale.forward(x[few]), density.scaled(None if context is None else context[few])
    moved = evaluation.evaluate(flow, "to_base", z, c, tolerance=evaluation.COUNTED, seed=seed)
    adaptive = evaluation.log_density_of(moved)
    grid, finer = (evaluation.on_grid(flow, z, c, refine=k) for k in (1, 2))
    known = None if c is None else c[:_PATHS]
    ratio = float(np.median(evaluation.stiffness(flow, z[:_PATHS], known)))
    notes = []
    lost = int((~moved.ok).sum())
    if lost:
        notes.append(
            f"{lost} of {len(z)} rows took more than {evaluation.COUNTED.max_steps} adaptive steps "
            "and were solved on a fixed grid: the field is stiff there. Do: raise kinetic= or "
            "jacobian="
        )
    if not evaluation.is_exact(flow):
        notes.append(
            f"the log density is estimated by noise, standard error {np.median(moved.error):.2g} "
            "nats per row (median)"
        )
    nfe = Evaluations(float(moved.nfe.mean()), float(moved.nfe.max()))
    check = discretisation(grid, finer, adaptive, int(nfe.mean))
    return Solves(nfe, ratio, check, tuple(notes))


def discretisation(
    grid: np.ndarray, finer: np.ndarray, adaptive: np.ndarray, nfe: int,
    tolerance: float = _TOLERANCE, words: Wording = TABLE,
) -> Discretisation:  # fmt: skip
    """Whether log densities move by more than `tolerance` nats when solved more exactly."""
    fine, free = (float(np.abs(grid - other).mean()) for other in (finer, adaptive))
    fine, free = (v if np.isfinite(v) else float("inf") for v in (fine, free))
    is_ode = max(fine, free) <= tolerance
    if is_ode:
        message = "this is a differential equation: its density does not depend on the steps"
    else:
        message = (
            f"the log density moves by {max(fine, free):.2g} nats per {words.one} when the flow is "
            "solved more exactly than it was trained: a discrete map rather than an equation. Do: "
            f"more steps in training, as {words.finer}, or raise kinetic= or jacobian="
        )
    return Discretisation(fine, free, tolerance, is_ode, message, nfe)


def status_of(
    trained: Status, held: HeldOutDensity | None, solves: Solves | None, notes: tuple[str, ...],
    words: Wording = TABLE,
) -> Status:  # fmt: skip
    """Whether a density learned from rows, or from images, can be used."""
    notes += _told(solves)
    if not trained.ok:
        return Status(
            trained.kind, trained.message, trained.cause, trained.remedy, False,
            (*trained.notes, *notes),
        )  # fmt: skip
    broken = _broken(solves, notes, words)
    if broken is not None:
        return broken
    if held is None:
        return Status("trained", f"trained: {trained.message}", notes=notes)
    message = f"held-out log density {held.mean:.4g} ± {held.error:.1g} nats per {words.one}"
    if not np.isfinite(held.mean):
        return Status(
            "diverged", message,
            f"{words.one}s that training did not see lie where the flow loses them",
            words.diverged, False, notes,
        )  # fmt: skip
    best, gaussian = held.best, next((b for b in held.beside if b.name == "Gaussian"), None)
    if best is None:
        return Status("trained", message, notes=notes)
    message += f" ({best.name}: {best.mean:.4g})"
    if gaussian is not None and gaussian.gain < -_CLEAR * gaussian.error:
        return Status(
            "overfitted", message,
            f"a Gaussian is better on the same {words.one}s ({gaussian.mean:.4g})",
            words.overfitted, False, notes,
        )  # fmt: skip
    if best.gain < -_CLEAR * best.error:
        return Status(
            "beaten", message, f"a {best.name} ({best.chosen}) is better on the same {words.one}s",
            words.beaten, True, notes,
        )  # fmt: skip
    return Status("trained", message, notes=notes)


def uncompared(held: HeldOutDensity | None, compare: bool) -> tuple[str, ...]:
    """That there is nothing to hold the score against, where something was asked for."""
    if not compare or held is None or held.beside:
        return ()
    return (
        "no simple density stands beside it: four fifths of the rows do not determine a covariance "
        "(too few rows, or a column that hardly ever varies)",
    )


def status_of_match(
    trained: Status, matched: Matched, solves: Solves | None, told: tuple[str, ...] = ()
) -> Status:
    """Whether a density matched to an unnormalised one can be used."""
    notes = (*told, *_nowhere(matched), *_told(solves))
    if matched.lost:
        return Status(
            "not matched", f"the target is no number at {matched.lost:.1%} of the flow's own draws",
            "a log density of NaN or plus infinity, from which training learned nothing",
            "mend the target: -inf where the density is zero, and finite numbers elsewhere",
            False, notes,
        )  # fmt: skip
    if not trained.ok or not np.isfinite(matched.elbo):
        return Status(
            trained.kind if not trained.ok else "diverged", trained.message,
            trained.cause or "the target is not finite on samples of the flow",
            trained.remedy or "pass mean= and scale= where the target lives", False, notes,
        )  # fmt: skip
    broken = _broken(solves, notes)
    if broken is not None:
        return broken
    if matched.effective < _POOR:
        return Status(
            "not matched", str(matched),
            "the flow misses a part of the target or is too narrow, or the target has no finite "
            "integral",
            "pass mean= and scale= where the target lives, more steps or a wider flow",
            False, notes,
        )  # fmt: skip
    return Status("matched", str(matched), notes=notes)


def _nowhere(matched: Matched) -> tuple[str, ...]:
    """Where the target is no number although the flow does not go there."""
    if matched.lost or not matched.beyond:
        return ()
    return (
        "the target is a number at every draw of the flow, but NaN or infinite at "
        f"{matched.beyond:.0%} of places up to three times as far out: mass that lies there is "
        "missed. Do: return -inf where the density is zero, and finite numbers elsewhere",
    )


def _told(solves: Solves | None) -> tuple[str, ...]:
    return () if solves is None else (*solves.notes, solves.discretisation.message)


def _broken(solves: Solves | None, notes: tuple[str, ...], words: Wording = TABLE) -> Status | None:
    """A flow that is another one when it is solved exactly."""
    if solves is None:
        return None
    check = solves.discretisation
    move = max(check.finer, check.adaptive)
    if move <= _BROKEN * check.tolerance:
        return None
    return Status(
        "a discrete map",
        f"the log density moves by {move:.2g} nats per {words.one} when solved exactly",
        "the grid of training is too coarse for the field that was learned",
        f"train with more steps, as {words.finer}, or raise kinetic= or jacobian=", False, notes,
    )  # fmt: skip
