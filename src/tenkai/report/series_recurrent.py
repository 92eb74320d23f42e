"""What the page of an `ODERNN` shows: predictions one step ahead and their calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .findings import about, gather
from .series_findings import (
    CANDIDATES,
    FINE,
    Piece,
    Recurring,
    SeriesFindings,
    Told,
    confusion_of,
    in_list,
    most_observed,
    spaced,
    subset,
    told_how,
)

_VARIABLES = 3  # with panels
_PER_BIN = 10  # values in a bar of a histogram, at least
_LEVELS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True, eq=False, kw_only=True)
class RecurrentFindings(SeriesFindings):
    """What the page shows of a recurrent model.

    `transform` (values,) is the share of each predicted distribution below what was observed:
    uniform where the distributions are right.
    """

    transform: np.ndarray
    of: str
    both: bool

    @property
    def bins(self) -> int:
        """Of a histogram of the transform: twenty, fewer where the values are few."""
        return int(np.clip(len(self.transform) // _PER_BIN, 2, 20))

    def covered(self) -> tuple[np.ndarray, np.ndarray]:
        """Nominal coverage of central intervals, and the share of the values inside."""
        away = np.abs(2 * self.transform - 1)
        inside = [np.mean(away <= level) if len(away) else np.nan for level in _LEVELS]
        return _LEVELS, np.array(inside)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Series that the pictures are of, from when on they count, their numbers in the table."""

    series: list[Any]
    since: list[float]
    which: np.ndarray
    kind: str


@gather.register(Recurring)
def _(estimator: Recurring, forecasts: Any = None, coverage: float = 0.9) -> RecurrentFindings:
    found: Any = estimator
    data = found.data_
    given = {f.series: f for f in in_list(forecasts)} if forecasts is not None else {}
    by = _judged(found)
    if given:
        some = [i for i, s in enumerate(data) if s.id in given]
        if some:
            by = _Judged([data[i] for i in some], [-np.inf] * len(some), np.array(some), "series")
    transforms, errors = _judge(found, by)
    picked = spaced(errors)
    shown = _shown(found, picked, by, errors, given, coverage)
    confusion = None
    if found.classes_ is not None:
        chance = found.predict_proba(subset(data, by.series))
        confusion = confusion_of(found, by.which, chance)
    return RecurrentFindings(
        **about(found, "A recurrent model of"),
        series=tuple(shown), chosen=most_observed(data, _VARIABLES), unit="sd",
        how=told_how(len(shown), len(by.series), len(data), by.kind), held_out=found.held_out_,
        coverage=coverage, confusion=confusion, precision=found.precision, filled=found.filled_,
        transform=np.concatenate(transforms), of=by.kind, both=found.sides == "both",
    )  # fmt: skip


def _judged(found: Any) -> _Judged:
    """Those that judged, as the training shared them out; all of them where none did."""
    from ..sequences.recurrent_learning import share_out

    data = found.data_
    label = None if found.classes_ is None else np.zeros(len(data), int)
    part = share_out(data, label, found).judge
    if part is None:
        series, since, kind = list(data), None, "series"
    else:
        series, since = part.series, part.since
        kind = "held-out series" if since is None else "ends of series"
    at = {s.id: i for i, s in enumerate(data)}
    from_when = list(since or [-np.inf] * len(series))
    if len(series) > CANDIDATES:
        few = np.random.default_rng(found.seed).choice(len(series), CANDIDATES, replace=False)
        series, from_when = ([a[i] for i in np.sort(few)] for a in (series, from_when))
    return _Judged(series, from_when, np.array([at[s.id] for s in series]), kind)


def _said(found: Any, spells: list[Any]) -> list[Any]:
    """Densities of spells, in the precision of the model."""
    from ..devices import arithmetic
    from ..sequences.recurrent_evaluation import said

    with arithmetic(found.precision):
        return said(found.model_, spells)


def _judge(found: Any, by: _Judged) -> tuple[list[np.ndarray], np.ndarray]:
    """Probability integral transforms of every series' values, and the series' errors in sd."""
    from scipy.special import ndtr

    from ..sequences.recurrent_evaluation import own_slots

    reader = found.reader_
    made = _said(found, reader.spells(by.series))
    transforms, errors = [], []
    for one, since, said in zip(by.series, by.since, made, strict=True):
        at = own_slots(one, reader)
        x = np.where((one.t >= since)[:, None], reader.units.state.forward(one.x), np.nan)
        known = np.isfinite(x)
        mean, sd = said.mean[at].astype(float), said.sd[at].astype(float)
        transforms.append(ndtr((x - mean)[known] / sd[known]))
        miss = (x - mean)[known]
        errors.append(np.sqrt(np.mean(miss**2)) if len(miss) else np.nan)
    return transforms, np.array(errors)


def _shown(
    found: Any, picked: list, by: _Judged, errors: np.ndarray, given: dict[str, Any],
    coverage: float,
) -> list[Told]:  # fmt: skip
    """Some series with what is said of every moment given what was seen before it."""
    data, reader = found.data_, found.reader_
    some = [by.series[i] for i, _ in picked]
    fine = [np.linspace(s.t[0], s.t[-1], FINE) for s in some]
    if found.sides == "past":  # from both sides an observation alone does not see itself
        fine = [np.union1d(t, s.t) for t, s in zip(fine, some, strict=True)]
    spells = [reader.spell(s, t) for s, t in zip(some, fine, strict=True)]
    ahead = _ahead(found, some, given, coverage)
    out = []
    for one, t, said, (i, rank) in zip(some, fine, _said(found, spells), picked, strict=True):
        path = _path(found, one, t, said, coverage)
        later = [ahead[one.id]] if one.id in ahead else []
        out.append(Told(
            one.id, np.asarray(data.clock.decode(one.t)), one.x, np.ones(len(one), bool),
            path, tuple(Piece(np.asarray(f.time), f.mean, f.lower, f.upper) for f in later),
            float(errors[i]), rank,
        ))  # fmt: skip
    return out


def _path(found: Any, one: Any, t: np.ndarray, said: Any, coverage: float) -> Piece:
    from scipy.special import ndtri

    from ..sequences.recurrent_evaluation import own_slots

    reader = found.reader_
    at = own_slots(one, reader, t)
    mean, half = said.mean[at], ndtri(0.5 + coverage / 2) * said.sd[at]
    values = map(reader.units.state.inverse, (mean, mean - half, mean + half))
    return Piece(np.asarray(found.data_.clock.decode(t)), *values)


def _ahead(
    found: Any, some: list[Any], given: dict[str, Any], coverage: float
) -> dict[str, Any]:  # fmt: skip
    """Forecasts: those that were passed, else its own, where it can forecast."""
    if given or found.sides == "both" or any(s.t[-1] <= s.t[0] for s in some):
        return given
    made = found.forecast(data=subset(found.data_, some), coverage=coverage)
    return {f.series: f for f in in_list(made)}
