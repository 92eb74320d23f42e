"""The page of a latent ODE in the plane: paths both ways in time, hidden paths, errors by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .axes import dress, new_figure
from .fonts import lettering
from .palette import AHEAD, FLOW, GOOD, INK, LEARNED, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_THIN = 60  # hidden paths per group


@dataclass(frozen=True, eq=False)
class Course:
    """One series in the plane: the truth, what was observed, and the path before, in and after."""

    title: str
    truth: Float[np.ndarray, "n 2"]
    observed: Float[np.ndarray, "points 2"]
    before: Float[np.ndarray, "b 2"]
    inside: Float[np.ndarray, "w 2"]
    after: Float[np.ndarray, "a 2"]


def planar_page(
    courses: Sequence[Course],
    hidden: Mapping[str, Float[np.ndarray, "series time latent"]],
    errors: Mapping[str, Float[np.ndarray, " steps"]],
    *,
    window: int,
    title: str = "",
) -> Figure:
    """Series above; below hidden paths and states by group, and errors by step of every model."""
    with lettering():
        figure = new_figure(3.0 * len(courses), 6.2)
        above, below = np.asarray(figure.subfigures(2, 1))
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize="medium", color=INK)
        for i, (ax, one) in enumerate(
            zip(np.atleast_1d(above.subplots(1, len(courses))), courses, strict=True)
        ):
            _course(ax, one)
            if not i:
                figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=5,
                              frameon=False, fontsize="small")  # fmt: skip
        paths, starts, size = below.subplots(1, 3)
        _hidden(paths, starts, hidden)
        _errors(size, errors, window)
    return figure


def _course(ax: Axes, one: Course) -> None:
    ax.plot(*one.truth.T, color=FLOW, linewidth=3, label="noise-free")
    ax.plot(*one.observed.T, "o", color=INK, markersize=2.2, label="observed")
    joined = np.concatenate([one.before, one.inside[:1]])
    ax.plot(*joined.T, color=GOOD, linewidth=1.4, label="before")
    ax.plot(*one.inside.T, color=LEARNED, linewidth=1.4, label="reconstructed")
    ax.plot(*np.concatenate([one.inside[-1:], one.after]).T, color=AHEAD, linewidth=1.4,
            label="after")  # fmt: skip
    dress(ax, title=one.title, legend=False)
    ax.set_aspect("equal", adjustable="datalim")


def principal(z: Float[np.ndarray, "n latent"]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the two directions (latent, 2) in which states vary most."""
    middle = z.mean(0)
    _, _, axes = np.linalg.svd(z - middle, full_matrices=False)
    return middle, axes[:2].T


def _hidden(paths: Axes, starts: Axes, hidden: Mapping[str, np.ndarray]) -> None:
    everything = np.concatenate([z.reshape(-1, z.shape[-1]) for z in hidden.values()])
    middle, axes = principal(everything)
    begun, turn = principal(np.concatenate([z[:, 0] for z in hidden.values()]))
    for i, (name, z) in enumerate(hidden.items()):
        flat = (z[:_THIN] - middle) @ axes
        for k, one in enumerate(flat):
            paths.plot(*one.T, color=SERIES[i], linewidth=0.6, alpha=0.6,
                       label=name if not k else None)  # fmt: skip
        starts.plot(*((z[:, 0] - begun) @ turn).T, "o", color=SERIES[i], markersize=2.5,
                    alpha=0.7, label=name, markeredgewidth=0)  # fmt: skip
    dress(paths, title="Hidden paths, window and beyond", x="1st principal direction",
          y="2nd")  # fmt: skip
    dress(starts, title="States z0 at the beginning", x="1st principal direction", y="2nd")


def _errors(ax: Axes, errors: Mapping[str, np.ndarray], window: int) -> None:
    for shade, (name, size) in zip((LEARNED, AHEAD, GOOD), errors.items(), strict=False):
        ax.plot(np.arange(1, len(size) + 1), size, color=shade, label=name)
    ax.axvline(window, color=INK, linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    dress(ax, title="RMSE against the noise-free curve", x="step (dotted: the window's end)")
