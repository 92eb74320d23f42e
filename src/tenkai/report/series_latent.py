"""What the page of a `LatentODE` shows: paths both ways, errors by distance, the hidden plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .classes_findings import plane_of
from .findings import about, gather
from .series_findings import (
    CANDIDATES,
    FINE,
    Latent,
    Piece,
    SeriesFindings,
    Told,
    codes_of,
    confusion_of,
    in_list,
    most_observed,
    root_mean_square,
    spaced,
    spread,
    subset,
    told_how,
)

_VARIABLES = 3  # with panels
_BEGINS, _ENDS = 0.2, 0.7  # of a held-out series' duration: what the model is given lies between
_FEWEST = 3  # observed times that are given
_BEYOND = 0.25  # of the duration, drawn on both sides of a series that is given whole
_PATHS, _POINTS = 60, 1000  # hidden paths, and posteriors, that are drawn
_TIMES = 50  # of a hidden path
_BINS = 8  # of distances, on each side


@dataclass(frozen=True, eq=False)
class Hidden:
    """Hidden paths in the plane of their two principal components.

    `paths` (series, times, 2), `fractions` (times,) of the series' duration; `start` (posteriors,
    2) the means of z0 and `blur` their standard deviations there; `codes` and `start_codes` are
    numbers of classes (-1 none). `nats` (latent,) is what the posterior knows of every dimension.
    """

    paths: np.ndarray
    fractions: np.ndarray
    start: np.ndarray
    blur: np.ndarray
    codes: np.ndarray
    start_codes: np.ndarray
    share: float
    nats: np.ndarray
    predicted: bool


class Distances(NamedTuple):
    """Errors by how far from what was given: `distance` < 0 before it; the naive carry a value."""

    distance: np.ndarray
    error: np.ndarray
    naive: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentFindings(SeriesFindings):
    """What the page shows of a latent ODE."""

    hidden: Hidden
    distances: Distances | None
    classes: tuple[str, ...]


@gather.register(Latent)
def _(estimator: Latent, forecasts: Any = None, coverage: float = 0.9) -> LatentFindings:
    found: Any = estimator
    data = found.data_
    which, held = judged(found)
    given = {f.series: f for f in in_list(forecasts)} if forecasts is not None else {}
    candidates = [data[int(i)] for i in which]
    if given:
        candidates, held = [s for s in data if s.id in given] or candidates, False
    kept = [middle(s) if held else np.ones(len(s), bool) for s in candidates]
    misses = _misses(found, candidates, kept)
    errors = np.array([root_mean_square(m) for m in misses])
    picked = spaced(errors)
    shown = _shown(found, picked, candidates, kept, errors, given, coverage)
    chance = None if found.classes_ is None else found.predict_proba(subset(data, candidates))
    numbers = np.array([s.id for s in candidates])
    confusion = None
    if chance is not None and not given:
        confusion = confusion_of(found, which, chance)
    kind = "held-out series" if held else "series"
    return LatentFindings(
        **about(found, "A latent differential equation for"),
        series=tuple(shown), chosen=most_observed(data, _VARIABLES), unit="sd",
        how=told_how(len(shown), len(numbers), len(data), kind), held_out=found.held_out_,
        coverage=coverage, confusion=confusion, precision=found.precision,
        hidden=hidden(found, candidates), classes=_classes(found),
        distances=_distances(found, candidates, kept, misses) if held else None,
    )  # fmt: skip


def _classes(found: Any) -> tuple[str, ...]:
    return () if found.classes_ is None else tuple(str(c) for c in found.classes_)


def judged(found: Any) -> tuple[np.ndarray, bool]:
    """The series that the pictures are of, and whether they were held out of the training.

    Of those held out the ones that are long enough to hide something of them.
    """
    from ..sequences.learning import split

    train, held = split(len(found.data_), found)
    long = np.array([i for i in held if not middle(found.data_[int(i)]).all()], int)
    few = long if len(long) else held if len(held) else train
    if len(few) > CANDIDATES:
        few = np.sort(np.random.default_rng([found.seed, 9]).choice(few, CANDIDATES, replace=False))
    return few, bool(len(held))


def middle(one: Any) -> np.ndarray:
    """What the model is given of a held-out series (times,): its middle, so that it goes both ways.

    Everything, where too little would be left.
    """
    seen = np.flatnonzero(one.observed.any(axis=1))
    begun, ended = one.t[seen[[0, -1]]]
    share = (one.t - begun) / max(ended - begun, 1e-300)
    kept = (share >= _BEGINS) & (share <= _ENDS)
    return kept if kept[seen].sum() >= _FEWEST else np.ones(len(one), bool)


def _parts(candidates: list[Any], kept: list[np.ndarray]) -> list[Any]:
    """What the model is given."""
    kind = type(candidates[0])
    return [kind(s.id, s.t[k], s.x[k]) for s, k in zip(candidates, kept, strict=True)]


def _misses(found: Any, candidates: list[Any], kept: list[np.ndarray]) -> list[np.ndarray]:
    """Said minus observed (times, dim) in standard deviations; NaN at what was given."""
    data = found.data_
    times = {s.id: data.clock.decode(s.t) for s in candidates}
    made = in_list(found.forecast(times=times, data=subset(data, _parts(candidates, kept))))
    sd, out = spread(data), []
    for one, k, said in zip(candidates, kept, made, strict=True):
        miss = (said.mean - one.x) / sd
        out.append(miss if k.all() else np.where(k[:, None], np.nan, miss))
    return out


def _shown(
    found: Any, picked: list, candidates: list[Any], kept: list[np.ndarray], errors: np.ndarray,
    given: dict[str, Any], coverage: float,
) -> list[Told]:  # fmt: skip
    data = found.data_
    some = [candidates[i] for i, _ in picked]
    parts = _parts(some, [kept[i] for i, _ in picked])
    fine = [_fine(s, kept[i].all() and s.id not in given)
            for s, (i, _) in zip(some, picked, strict=True)]  # fmt: skip
    times = {s.id: data.clock.decode(t) for s, t in zip(some, fine, strict=True)}
    made = in_list(found.forecast(times=times, data=subset(data, parts), coverage=coverage))
    out = []
    for one, part, t, said, (i, rank) in zip(some, parts, fine, made, picked, strict=True):
        whole = Piece(np.asarray(said.time), said.mean, said.lower, said.upper)
        seen = part.t[part.observed.any(1)]
        first = max(int(np.searchsorted(t, seen[0])), 0)
        last = min(int(np.searchsorted(t, seen[-1], side="right")), len(t)) - 1
        inside = whole.cut(slice(first, last + 1))
        outside = [whole.cut(slice(0, first + 1)), whole.cut(slice(last, None))]
        if one.id in given:
            f = given[one.id]
            outside.append(Piece(np.asarray(f.time), f.mean, f.lower, f.upper))
        out.append(Told(
            one.id, np.asarray(data.clock.decode(one.t)), one.x, kept[i], inside,
            tuple(p for p in outside if len(p.time) > 1), float(errors[i]), rank,
        ))  # fmt: skip
    return out


def _fine(one: Any, beyond: bool) -> np.ndarray:
    """Float times of a smooth curve through a series, and beyond it on both sides."""
    first, last = one.t[0], one.t[-1]
    more = _BEYOND * (last - first) if beyond else 0.0
    span = np.linspace(first - more, last + more, FINE) if last > first else np.empty(0)
    return np.union1d(span, one.t)


def _distances(
    found: Any, candidates: list[Any], kept: list[np.ndarray], misses: list[np.ndarray]
) -> Distances | None:
    """Root mean squares of equally many misses by distance from what was given."""
    sd, far, model, naive = spread(found.data_), [], [], []
    for one, k, miss in zip(candidates, kept, misses, strict=True):
        if k.all():
            continue
        t = one.t[k]
        away = np.where(one.t > t[-1], one.t - t[-1], np.where(one.t < t[0], one.t - t[0], 0.0))
        far.append(np.broadcast_to(away[:, None], miss.shape)[np.isfinite(miss)])
        model.append(miss[np.isfinite(miss)])
        naive.append(((_carried(one.x[k], away) - one.x) / sd)[np.isfinite(miss)])
    if not far:
        return None
    all_far, all_model, all_naive = (np.concatenate(a) for a in (far, model, naive))
    rows = []
    for side in (all_far < 0, all_far > 0):
        order = np.flatnonzero(side)[np.argsort(all_far[side], kind="stable")]
        for part in np.array_split(order, min(_BINS, max(len(order) // 5, 1))):
            if len(part):
                rows.append((
                    all_far[part].mean(), root_mean_square(all_model[part]),
                    root_mean_square(all_naive[part]),
                ))  # fmt: skip
    return Distances(*np.array(rows).T) if rows else None


def _carried(seen: np.ndarray, away: np.ndarray) -> np.ndarray:
    """The nearest value that was given of every variable, (times, dim)."""
    out = np.full((len(away), seen.shape[1]), np.nan)
    for j, column in enumerate(seen.T):
        known = column[np.isfinite(column)]
        if len(known):
            out[:, j] = np.where(away > 0, known[-1], known[0])
    return out


def hidden(found: Any, candidates: list[Any]) -> Hidden:
    """Hidden paths and where they begin, in one plane."""
    data = found.data_
    some = candidates[:_PATHS]
    fractions = np.linspace(0, 1, _TIMES)
    times = {s.id: data.clock.decode(s.t[0] + fractions * (s.t[-1] - s.t[0])) for s in some}
    made = in_list(found.latent_path(times, data=subset(data, some)))
    paths = np.stack([np.asarray(p.values, float) for p in made])
    step = -(-len(data) // _POINTS)
    many = list(data)[::step]
    code = found.encode(subset(data, many))
    every = np.concatenate([paths.reshape(-1, paths.shape[-1]), code.mean])
    wide = np.where(np.isfinite(every), every, 0.0)  # a path may have run away
    plane = plane_of(wide)
    cut = paths.shape[0] * paths.shape[1]
    mean, sd = np.asarray(code.mean, float), np.asarray(code.sd, float)
    nats = 0.5 * (mean**2 + sd**2 - 1) - np.log(np.maximum(sd, 1e-300))
    return Hidden(
        plane.points[:cut].reshape(*paths.shape[:2], 2), fractions, plane.points[cut:],
        np.sqrt(sd**2 @ plane.axes**2), _codes(found, some), _codes(found, many), plane.share,
        nats.mean(0), codes_of(found) is None,
    )  # fmt: skip


def _codes(found: Any, some: list[Any]) -> np.ndarray:
    """Class numbers as learned; where labels were not kept, as predicted; -1 without classes."""
    if found.classes_ is None:
        return np.full(len(some), -1)
    learned = codes_of(found)
    if learned is None:
        return np.asarray(found.predict_proba(subset(found.data_, some))).argmax(1)
    at = {s.id: i for i, s in enumerate(found.data_)}
    return learned[[at[s.id] for s in some]]
