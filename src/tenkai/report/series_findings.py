"""What pictures and pages show of models of many series, computed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .classes_findings import Confusion
from .findings import About

SHOWN = 6  # series drawn by themselves
CANDIDATES = 300  # series among which they are chosen
FINE = 160  # points of a drawn curve


@runtime_checkable
class Recurring(Protocol):
    """A fitted model of the values of series given the earlier ones: `ODERNN`.

    It also has `data_`, `reader_`, `model_`, `held_out_`, `classes_`, `filled_`, `fit_`.
    """

    def reconstruct(self, *args: Any, **options: Any) -> Any: ...

    def forecast(self, horizon: Any = None, **options: Any) -> Any: ...

    def predict_proba(self, data: Any = None) -> np.ndarray: ...

    def score(self, data: Any = None) -> float: ...


@runtime_checkable
class Latent(Recurring, Protocol):
    """A fitted model of hidden paths of series: `LatentODE`."""

    def encode(self, data: Any = None, t: Any = None) -> Any: ...

    def latent_path(self, times: Any = None, **options: Any) -> Any: ...


class Piece(NamedTuple):
    """A stretch of a curve with its interval: raw times (times,), values (times, dim)."""

    time: np.ndarray
    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def cut(self, where: Any) -> Piece:
        """Some of its times."""
        return Piece(*(a[where] for a in self))


@dataclass(frozen=True, eq=False)
class Told:
    """One series: what was observed of it, what the model was given, what it says.

    `path` is where it was given something, `outside` what it says of earlier and later times.
    `rank` is the share of the series with a smaller error.
    """

    id: str
    time: np.ndarray
    observed: np.ndarray
    given: np.ndarray
    path: Piece
    outside: tuple[Piece, ...]
    error: float
    rank: float | None
    named: str = ""

    def title(self, unit: str) -> str:
        """Who it is and how well it is told."""
        said = self.id
        if np.isfinite(self.error):
            said += f" · {self.error:.2g} {unit}"
        if self.rank is not None:
            place = {0.0: "best", 0.5: "median", 1.0: "worst"}
            said += f" · {place.get(self.rank) or f'{self.rank:.0%} are better'}"
        return said


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesFindings(About):
    """What the pages of models of many series share."""

    series: tuple[Told, ...]
    chosen: tuple[int, ...]  # variables that have panels
    unit: str  # of the errors of the shown series
    how: str  # how the shown series were chosen
    held_out: Any
    coverage: float
    confusion: Confusion | None = None
    precision: str = "float32"
    filled: float | None = field(default=None)


def subset(data: Any, series: Sequence[Any]) -> Any:
    """The same table of other series."""
    return replace(data, series=tuple(series), notes=())


def in_list(made: Any) -> list[Any]:
    """One series' answer, or those of several, as a list."""
    return list(made) if isinstance(made, list | tuple) else [made]


def spread(data: Any) -> np.ndarray:
    """Standard deviation (dim,) of every variable over all series; 1 where it is constant."""
    with np.errstate(invalid="ignore"):
        x = np.concatenate([s.x for s in data])
        seen = np.isfinite(x)
        count = np.maximum(seen.sum(0), 1)
        mean = np.where(seen, x, 0.0).sum(0) / count
        sd = np.sqrt((np.where(seen, x - mean, 0.0) ** 2).sum(0) / count)
    return np.where(sd > 0, sd, 1.0)


def spaced(errors: np.ndarray, most: int = SHOWN) -> list[tuple[int, float | None]]:
    """Numbers of series at equal steps from the best to the worst, each with its rank.

    Where there are no more than `most` all of them in their order, without a rank.
    """
    if len(errors) <= most:
        return [(i, None) for i in range(len(errors))]
    order = np.argsort(np.where(np.isfinite(errors), errors, np.inf), kind="stable")
    count = max(int(np.isfinite(errors).sum()), 1)
    ranks = np.linspace(0, 1, min(most, count))
    at = np.round(ranks * (count - 1)).astype(int)
    return [(int(order[k]), float(r)) for k, r in zip(at, ranks, strict=True)]


def told_how(shown: int, among: int, total: int, kind: str) -> str:
    """How the series in the pictures were chosen."""
    if total == 1:
        return ""
    if shown == among:
        whole = among == total and kind == "series"
        return "" if whole else f"All {among} {kind} are shown, of {total:,} series."
    several = f"{among:,} {kind}" + (f" (of {total:,} series)" if among < total else "")
    return f"{shown} of {several}, at equal steps from the smallest error to the largest."


def most_observed(data: Any, most: int) -> tuple[int, ...]:
    """The variables that have panels: those that were observed most often, in their order."""
    count = np.sum([np.isfinite(s.x).sum(0) for s in data], axis=0)
    return tuple(sorted(np.argsort(-count, kind="stable")[:most].tolist()))


def root_mean_square(miss: np.ndarray) -> float:
    """Over what is finite; NaN where nothing is."""
    known = miss[np.isfinite(miss)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def codes_of(found: Any) -> np.ndarray | None:
    """The class number of every series as it was learned, -1 unknown; None without labels."""
    codes = getattr(found, "labels_", None)
    return None if codes is None or found.classes_ is None else np.asarray(codes)


def confusion_of(found: Any, which: np.ndarray, chance: np.ndarray) -> Confusion | None:
    """Of the chosen series, whose probabilities are `chance`, those with a label."""
    codes = codes_of(found)
    if codes is None:
        return None
    truth = codes[which]
    known = truth >= 0
    return Confusion.of(truth[known], chance[known].argmax(1), found.classes_)
