"""What pictures and pages show of a learned density, computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..records import Discretisation
from .findings import About, gather, listed

SHOWN = 1000  # rows that are drawn, and as many samples
COLUMNS = 5  # of a pair plot
FRAMES = 31
_SIDE = 90  # points along one side of a surface
_MOVED = 500  # points of an animation
_RECIPE = (
    "members", "matching", "steps", "batch", "rate", "noise", "decay", "kinetic", "jacobian",
    "straight", "jitter",
)  # fmt: skip
_MARGIN = 0.08  # of the range, around the rows


@runtime_checkable
class Transporting(Protocol):
    """A fitted density that is a flow: `FlowDensity`.

    It also has `density_`, `data_`, `context_`, `names_`, `held_out_`, `repeats_`, `matched_`,
    `nfe_`, `stiffness_`, `discretisation_`, `fit_`, `seconds_`.
    """

    def score_samples(self, X: Any) -> np.ndarray: ...

    def sample(self, n: int = 1) -> np.ndarray: ...

    def frames(self, x: Any, fractions: Any) -> np.ndarray: ...

    def inverse_transform(self, Z: Any) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Surface:
    """The density of one or two variables over a grid: `axes` (points,) each, `density` on them."""

    axes: tuple[np.ndarray, ...]
    density: np.ndarray


@dataclass(frozen=True, eq=False)
class Way:
    """Points (frames, points, dim) at `fractions` of the way from base to data, raw units."""

    fractions: np.ndarray
    points: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class DensityFindings(About):
    """What the page shows of a density; rows in the user's units."""

    rows: np.ndarray = field(repr=False)
    samples: np.ndarray = field(repr=False)
    context_names: tuple[str, ...]
    chosen: tuple[int, ...]
    surface: Surface | None
    way: Way | None
    held_out: Any
    repeats: Any
    matched: Any
    nfe: Any
    stiffness: float | None
    discretisation: Discretisation | None


def chosen_columns(rows: np.ndarray) -> tuple[int, ...]:
    """The columns of a pair plot: those that depend most on another, in their order."""
    dim = rows.shape[1]
    if dim <= COLUMNS:
        return tuple(range(dim))
    ranks = np.argsort(np.argsort(rows, axis=0), axis=0)
    ties = np.abs(np.corrcoef(ranks.T)) - np.eye(dim)
    return tuple(sorted(np.argsort(-ties.max(0), kind="stable")[:COLUMNS].tolist()))


@gather.register(Transporting)
def _(estimator: Transporting, forecasts: Any = None, coverage: float = 0.9) -> About:
    found: Any = estimator
    if images_of(found) is not None:
        from .density_images import gathered

        return gathered(found)
    rows, samples = shown(found)
    plain = not found.context_names_
    what = "A density" if plain else "A conditional density"
    repeats = found.repeats_
    return DensityFindings(
        heading=f"{what} of {listed(found.names_)}",
        kind=type(found).__name__,
        names=tuple(found.names_),
        units={},
        time_name="",
        span=(0, 0),
        total_series=1,
        observations=len(found.data_) if repeats is None else repeats.rows,
        fit=found.fit_,
        seconds=dict(found.seconds_),
        settings=used(found),
        notes=(),
        model=found.model_,
        members=len(found.model_),
        rows=rows,
        samples=samples,
        context_names=tuple(found.context_names_),
        chosen=chosen_columns(rows),
        surface=surface(found, rows) if plain and rows.shape[1] <= 2 else None,
        way=way(found) if found.density_.is_continuous and rows.shape[1] == 2 else None,
        held_out=found.held_out_,
        repeats=repeats,
        matched=found.matched_,
        nfe=found.nfe_,
        stiffness=found.stiffness_,
        discretisation=found.discretisation_,
    )


def images_of(found: Any) -> Any:
    """How the images were given that the density was learned from; None of a table."""
    return getattr(found, "images_", None)


def used(found: Any) -> dict[str, Any]:
    """The arguments, with what "auto" and no flow became; what did nothing is left out."""
    made, out = getattr(found, "settings_", {}), {}
    idle = set(_RECIPE) - set(made) if made else set()
    for name, value in found.get_params(deep=False).items():
        if name in idle:
            continue
        auto = isinstance(value, str) and value == "auto"
        if auto and name in made:
            number = made[name]
            said = f"{number:.3g}" if isinstance(number, float) else f"{number}"
            out[name] = f"{said} (auto)"
        elif name == "flow" and value is None and hasattr(found, "architecture_"):
            out[name] = f"{found.architecture_!r} (auto)"
        else:
            out[name] = value
    return out


def shown(found: Any, most: int = SHOWN) -> tuple[np.ndarray, np.ndarray]:
    """Rows of data and as many samples, of a conditional density at the contexts of these rows."""
    few = slice(most)
    rows = found.data_[few]
    known = None if found.context_ is None else found.context_[few]
    return rows, found.density_.sample(len(rows), known, seed=found.seed)


def limits(rows: np.ndarray, margin: float = _MARGIN) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends (dim,) of a picture of these rows; what lies far out is cut."""
    low, high = np.quantile(rows, [0.002, 0.998], axis=0)
    span = np.where(high > low, high - low, 1.0)
    low, high = low - 1.5 * margin * span, high + 1.5 * margin * span
    return (
        np.maximum(low, rows.min(0) - margin * span),
        np.minimum(high, rows.max(0) + margin * span),
    )


def surface(found: Any, rows: np.ndarray) -> Surface:
    """The density of one or two variables around the rows."""
    low, high = limits(rows)
    count = _SIDE if rows.shape[1] == 2 else 400
    axes = tuple(np.linspace(a, b, count) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(*axes), -1).reshape(-1, len(axes))
    density = np.exp(found.density_.log_density(grid))
    return Surface(axes, density.reshape((count,) * len(axes)))


def way(found: Any, frames: int = FRAMES, points: int = _MOVED) -> Way:
    """How points of the density came from the base."""
    fractions = np.linspace(0.0, 1.0, frames)
    if found.context_ is None:
        ends, known = found.density_.sample(points, None, seed=found.seed), None
    else:
        ends, known = found.data_[:points], found.context_[:points]
    return Way(fractions, found.density_.frames(ends, fractions, known))
