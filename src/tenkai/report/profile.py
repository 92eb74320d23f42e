"""The picture of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..records import MeasuredGradient, MeasuredSolve, Profile
from ..records.profile import size
from .axes import dress, new_figure, plot
from .fonts import lettering
from .palette import AHEAD, FLOW, INK, LEARNED, QUIET, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vP*X"
_WORST = 3.0  # errors beyond which a solve is lost, and not drawn


@plot.register(Profile)
def _(profile: Profile, *, ax: Axes | None = None) -> Any:
    """Error and time against evaluations, evaluations back, bytes of a gradient, stiffness.

    Into a given `ax` only errors against evaluations are drawn. What was not measured has no panel.
    """
    with lettering():
        if ax is not None:
            _errors(ax, profile).legend(frameon=False, fontsize="small")
            return ax
        back = bool(profile.gradients)
        figure = new_figure(11.0, 7.2 if back else 4.0)
        heights = (1, 0.12, 0.9) if back else (1, 0.12)
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        above = grid[0].subgridspec(1, 3)
        axes = [draw(figure.add_subplot(above[i]), profile) for i, draw in enumerate(_ABOVE)]
        words = figure.add_subplot(grid[1])
        words.axis("off")
        words.legend(*axes[0].get_legend_handles_labels(), loc="center", ncols=8,
                     frameon=False, fontsize="small")  # fmt: skip
        if back:
            below = grid[2].subgridspec(1, 2, width_ratios=(1.5, 1))
            axes.append(_bytes(figure.add_subplot(below[0]), profile))
            axes.append(_backwards(figure.add_subplot(below[1]), profile))
    panels = np.empty(len(axes), dtype=object)
    panels[:] = axes
    return panels


def _curves(profile: Profile) -> dict[str, list[MeasuredSolve]]:
    """Solves by method in the order of their evaluations, those that lost the path left out."""
    found: dict[str, list[MeasuredSolve]] = {}
    for one in sorted(profile.solves, key=lambda s: s.nfe):
        if one.error < _WORST:
            found.setdefault(one.method, []).append(one)
    order = dict.fromkeys(s.method for s in profile.solves)
    return {name: found[name] for name in order if name in found}


def _draw(ax: Axes, profile: Profile, value: str) -> None:
    for i, (name, solves) in enumerate(_curves(profile).items()):
        fixed = solves[0].kind == "fixed"
        ax.loglog(
            [s.nfe for s in solves], [getattr(s, value) for s in solves],
            marker=_MARKS[i % len(_MARKS)], ms=3.5, lw=1.3, color=colour(i),
            ls="-" if fixed else "--", label=name,
        )  # fmt: skip
    now, best = profile.current, profile.recommendation.solve
    if np.isfinite(best.error):
        ax.plot(best.nfe, getattr(best, value), "*", ms=14, mfc="none", mec=INK, mew=1.2,
                label="recommended", ls="none", zorder=5)  # fmt: skip
    if now is not None and np.isfinite(now.error):
        ax.plot(now.nfe, getattr(now, value), "s", ms=9, mfc="none", mec=AHEAD, mew=1.2,
                label="as it is solved now", ls="none", zorder=5)  # fmt: skip


def _errors(ax: Axes, profile: Profile) -> Axes:
    _draw(ax, profile, "error")
    ax.axhline(profile.tolerance, color=QUIET, lw=1, ls=":", label="tolerance")
    positive = [s.error for s in profile.solves if 0 < s.error < _WORST]
    if positive:
        ax.set_ylim(min(positive) / 3, 2 * _WORST)
    unit = profile.unit if len(profile.unit) < 34 else "scaled"
    return dress(ax, title="Error", x="evaluations (NFE)", y=f"error [{unit}]", legend=False)


def _times(ax: Axes, profile: Profile) -> Axes:
    _draw(ax, profile, "seconds")
    return dress(ax, title="Time", x="evaluations (NFE)", y="s / solve", legend=False)


def _stiffness(ax: Axes, profile: Profile) -> Axes:
    ax.plot(profile.at, profile.stiffness, color=FLOW, lw=0.8)
    middle = np.nanmedian(profile.stiffness, axis=1)
    ax.plot(profile.at, middle, color=LEARNED, marker="o", ms=3, label="median over rows")
    ax.set_yscale("log")
    ax.set_ylim(0.8, max(10.0, 2 * float(np.nanmax(profile.stiffness))))
    many = profile.stiffness.shape[1] > 1
    verdict = "stiff" if profile.stiff else "not stiff"
    return dress(ax, title=f"Stiffness ratio: {verdict}", x="fraction of the span", legend=many)


_ABOVE = (_errors, _times, _stiffness)


def _bytes(ax: Axes, profile: Profile) -> Axes:
    """Bytes, the time and the error beside them; hollow: several times the steps."""
    ways = [g for g in profile.gradients if g.rtol is None]
    least, most = min(g.steps for g in ways), max(g.steps for g in ways)
    shown = [*(g for g in ways if g.steps == least), *_tightest(profile)]
    for i, one in enumerate(shown):
        chosen = one is profile.recommendation.gradient
        later = [g for g in ways if g.adjoint == one.adjoint and g.steps == most > least]
        if later and one.rtol is None:
            ax.plot([one.bytes, later[0].bytes], [i, i], color=FLOW, lw=1.5, zorder=1)
            ax.plot(later[0].bytes, i, "o", mfc="white", mec=QUIET, ms=7)
        ax.plot(one.bytes, i, "*" if chosen else "o", color=INK if chosen else LEARNED,
                ms=12 if chosen else 7)  # fmt: skip
        error = "" if np.isnan(one.error) else f", error {one.error:.1g}"
        said = f"{size(one.bytes)}, {1e3 * one.seconds:.3g} ms{error}"
        ax.annotate(said, (1.02, i), xycoords=("axes fraction", "data"), va="center",
                    fontsize="small", color=INK)  # fmt: skip
    ax.set_yticks(range(len(shown)), [_named(one) for one in shown])
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(0.5 * min(g.bytes for g in profile.gradients), None)
    title = f"Memory of a gradient, {shown[0].method}, {least} steps"
    title += f" (hollow: {most})" if most > least else ""
    return dress(ax, title=title, x="bytes", legend=False)


def _tightest(profile: Profile) -> list[MeasuredGradient]:
    """Of the ways in adaptive steps the most exact of each."""
    best: dict[str, MeasuredGradient] = {}
    for one in profile.gradients:
        if one.rtol is not None and one.rtol <= getattr(best.get(one.adjoint), "rtol", np.inf):
            best[one.adjoint] = one
    return list(best.values())


def _named(one: MeasuredGradient) -> str:
    return one.adjoint if one.rtol is None else f"{one.adjoint},\nrtol {one.rtol:.0e}"


def _backwards(ax: Axes, profile: Profile) -> Axes:
    """Evaluations on the way back against those on the way there."""
    top = 1.2 * max(max(g.nfe, g.nfe_backward) for g in profile.gradients)
    ax.plot([0, top], [0, top], color=QUIET, lw=1, ls=":", label="as many")
    kinds = (
        ("discretise, then optimise", [g for g in profile.gradients if "contin" not in g.adjoint]),
        ("continuous adjoint", [g for g in profile.gradients if "contin" in g.adjoint]),
    )
    for i, (name, mine) in enumerate(kinds):
        there, back = [g.nfe for g in mine], [g.nfe_backward for g in mine]
        face = (colour(i), "none")[i == 0]
        ax.plot(there, back, "so"[i], ls="none", c=colour(i), ms=7 - 2 * i, mfc=face, label=name)
    ax.set(xlim=(0, top), ylim=(0, top))
    return dress(ax, title="Evaluations back and forth", x="NFE forward", y="NFE backward")
