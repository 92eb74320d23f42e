"""What pictures and pages show of a learned manifold, computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from .classes_findings import shade
from .findings import About, gather

SHOWN = 2000  # rows that are drawn
_GRID = 28  # points of the surface along a latent
_CURVE = 240  # of a curve
_NEAR = 0.03  # of the usual mass: where fewer latents are, no surface is drawn
_CLASSES = 12  # labels that have a colour of their own


@runtime_checkable
class Unfolding(Protocol):
    """A fitted manifold: `UKR`.

    It also has `embedding_`, `data_`, `history_`, `error_`, `bandwidth_`, `isolated_`, `apart_`,
    `model_`, `fit_`.
    """

    def animate(self, path: Any, *, color: Any = None) -> Any: ...

    def reconstruct(self, X: Any) -> np.ndarray: ...

    def inverse_transform(self, Z: Any) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Shades:
    """Colours of rows: `values` on a scale, or `codes` of named classes; neither where unsaid."""

    values: np.ndarray | None = None
    codes: np.ndarray | None = None
    names: tuple[str, ...] = ()
    title: str = ""

    def taken(self, rows: np.ndarray) -> Shades:
        """Of some rows."""
        values = None if self.values is None else self.values[rows]
        codes = None if self.codes is None else self.codes[rows]
        return Shades(values, codes, self.names, self.title)

    def of_class(self, k: int) -> str:
        """The colour of a class."""
        return shade(k)


def shades_of(color: Any, rows: int) -> Shades:
    """Numbers become a scale, labels (and few whole numbers) classes; `InputError` for others."""
    if color is None:
        return Shades()
    given = np.asarray(color)
    if given.shape != (rows,):
        raise InputError(
            "color", expected=f"one number or label for each of {rows} rows",
            got=f"shape {given.shape}", do="pass a column",
        )  # fmt: skip
    title = str(getattr(color, "name", "") or "")
    names, codes = np.unique(given.astype(str) if given.dtype == object else given,
                             return_inverse=True)  # fmt: skip
    if given.dtype.kind in "fiu" and (given.dtype.kind == "f" or len(names) > _CLASSES):
        return Shades(values=given.astype(float), title=title)
    return Shades(codes=codes, names=tuple(map(str, names)), title=title)


@dataclass(frozen=True, eq=False)
class Plane:
    """Latents as they are drawn: their own two numbers, or the two principal directions of more.

    `points` (n, 2); of one latent the second number is that of the rows' principal component.
    """

    points: np.ndarray
    names: tuple[str, str]
    centre: np.ndarray
    axes: np.ndarray | None

    def of(self, z: np.ndarray) -> np.ndarray:
        """Other latents in the same plane, (n, 2) or of one latent (n, 1)."""
        return z if self.axes is None else (z - self.centre) @ self.axes


def plane_of(z: np.ndarray, x: np.ndarray) -> Plane:
    """Where latents (n, L) of rows x are drawn."""
    if z.shape[1] == 2:
        return Plane(z, ("z1", "z2"), np.zeros(2), None)
    if z.shape[1] == 1:
        first = Space.of(x).to(x)[:, 0]
        name = "first principal component of the rows"
        return Plane(np.column_stack([z[:, 0], first]), ("z", name), np.zeros(1), None)
    centre = z.mean(0)
    axes = np.linalg.svd(z - centre, full_matrices=False)[2][:2].T
    names = ("first principal direction of z", "second")
    return Plane((z - centre) @ axes, names, centre, axes)


@dataclass(frozen=True, eq=False)
class Space:
    """Where the surface is drawn: two or three columns, or three principal components of more."""

    names: tuple[str, ...]
    centre: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, names: tuple[str, ...] = ()) -> Space:
        """Of rows; gaps count as the mean of their column."""
        centre, dim = np.nanmean(x, axis=0), x.shape[1]
        if names and dim <= 3:
            wide = max(dim, 2)  # one column stands on a line
            return cls((*names, "")[:wide], np.zeros(dim), np.eye(dim, wide))
        filled = np.where(np.isnan(x), 0.0, x - centre)
        axes = np.linalg.svd(filled, full_matrices=False)[2][:3].T
        signs = np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1.0, 1.0)
        return cls(tuple(f"PC {i + 1}" for i in range(axes.shape[1])), centre, axes * signs)

    def to(self, x: np.ndarray) -> np.ndarray:
        """Rows in this space."""
        return np.where(np.isnan(x), 0.0, x - self.centre) @ self.axes


@dataclass(frozen=True, eq=False)
class Surface:
    """Points of the surface (a, b, dim) or the curve (a, dim); NaN where no latents are near."""

    points: np.ndarray

    @property
    def curve(self) -> bool:
        """Whether it has one latent."""
        return self.points.ndim == 2


def surface_of(found: Any) -> Surface | None:
    """The surface over the latents in its space; None of three latents and more."""
    from ..manifolds import evaluation

    z = found.embedding_[np.isfinite(found.embedding_).all(1)]
    low, high = np.quantile(z, 0.005, axis=0), np.quantile(z, 0.995, axis=0)
    if z.shape[1] > 2:
        return None
    count = _CURVE if z.shape[1] == 1 else _GRID
    ways = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*ways, indexing="ij"), axis=-1)
    flat = grid.reshape(-1, z.shape[1])
    mass = evaluation.mass(found.model_, flat)
    usual = np.median(evaluation.mass(found.model_, z[:: max(1, len(z) // 200)]))
    points = np.where((mass > _NEAR * usual)[:, None], evaluation.inverse_transform(
        found.model_, flat), np.nan)  # fmt: skip
    return Surface(points.reshape(*grid.shape[:-1], -1))


def names_of(found: Any) -> tuple[str, ...]:
    """The columns' names."""
    names = getattr(found, "feature_names_in_", None)
    count = found.data_.shape[1]
    return tuple(f"x{i + 1}" for i in range(count)) if names is None else tuple(map(str, names))


def drawn_rows(found: Any) -> np.ndarray:
    """Rows that are drawn, spread over all."""
    n = len(found.embedding_)
    return np.unique(np.linspace(0, n - 1, min(n, SHOWN)).astype(int))


@dataclass(frozen=True, eq=False, kw_only=True)
class ManifoldFindings(About):
    """What the page shows of a manifold; `explained` is a share of every column's variance."""

    plane: Plane
    space: Space
    total: int  # rows
    rows: np.ndarray  # (n, 2 or 3) in `space`
    surface: Surface | None
    shares: np.ndarray
    error: float
    left_out: bool
    bandwidth: float
    isolated: int
    apart: Any
    history: tuple[tuple[int, np.ndarray], ...]


@gather.register(Unfolding)
def _(estimator: Unfolding, forecasts: Any = None, coverage: float = 0.9) -> ManifoldFindings:
    found: Any = estimator
    names, rows = names_of(found), drawn_rows(found)
    x, fit = found.data_, found.fit_
    space = Space.of(x, names)
    kind = type(found).__name__
    return ManifoldFindings(
        heading=f"{kind} of {len(names)} columns", kind=kind, names=names, units={},
        time_name="", span=(0, 0), total_series=1, observations=int((~np.isnan(x)).sum()),
        fit=fit, seconds={"latents": fit.seconds}, settings=settings_of(found), notes=(),
        total=len(x), model=found.model_, space=space,
        plane=plane_of(found.embedding_[rows], x[rows]),
        rows=space.to(x[rows]), surface=surface_of(found), shares=shares_of(found, rows),
        error=found.error_, left_out=bool(found.leave_one_out), bandwidth=found.bandwidth_,
        isolated=len(found.isolated_), apart=found.apart_,
        history=tuple((s, z[rows] if len(z) == len(x) else z) for s, z in found.history_),
    )  # fmt: skip


def settings_of(found: Any) -> dict[str, Any]:
    """The arguments; an array by its shape."""
    return {
        name: f"array of shape {np.shape(value)}" if np.ndim(value) == 2 else value
        for name, value in found.get_params().items()
    }


def shares_of(found: Any, rows: np.ndarray) -> np.ndarray:
    """What the surface at the rows' latents explains of every column, with their own value in it.

    NaN of a constant column.
    """
    x = found.data_[rows]
    made = found.inverse_transform(found.embedding_[rows])
    missed = np.nansum((x - made) ** 2, axis=0)
    total = np.nansum((x - np.nanmean(x, axis=0)) ** 2, axis=0)
    return np.where(total > 0, 1 - missed / np.maximum(total, 1e-300), np.nan)
