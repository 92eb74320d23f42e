"""What a trained recurrent model says of series: one-step densities, classes, how good both are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax, ndtri

from ..data import Series
from .packing import Rows, Spell
from .recurrent import RecurrentModel
from .recurrent_rows import Reader, carried_to, rounded, rows_of

_BLOCK = 64  # rows in one call of the compiled program
_NOMINAL = 0.9
_LEAST_SD = 1e-3


@dataclass(frozen=True)
class HeldOutSeries:
    """How well values of series are foretold that training did not see.

    `log_density` is the mean per value in nats, raw units; `error` the root mean square in standard
    deviations of the variables; `naive` and `naive_errors` those of simple forecasts. `inside` of
    `points` values lie in the `nominal` interval. With labels, `cross_entropy` (nats) and
    `accuracy` beside those of the classes' frequencies and, of two classes, `auc`, over `labelled`
    series.
    """

    log_density: float
    error: float
    naive: dict[str, float]
    naive_errors: dict[str, float]
    inside: int
    points: int
    nominal: float = _NOMINAL
    labelled: int = 0
    cross_entropy: float = float("nan")
    naive_cross_entropy: float = float("nan")
    accuracy: float = float("nan")
    naive_accuracy: float = float("nan")
    auc: float = float("nan")
    note: str = field(default="")

    @property
    def coverage(self) -> float:
        """Share of the values inside the interval."""
        return self.inside / self.points if self.points else float("nan")

    @property
    def best_naive(self) -> tuple[str, float]:
        """Name and log density of the best simple forecast."""
        name = max(self.naive, key=lambda k: self.naive[k])
        return name, self.naive[name]


class Said(NamedTuple):
    """Of one series: the density of every value of its slots, logits of its class."""

    mean: Float[np.ndarray, "slots dim"]
    sd: Float[np.ndarray, "slots dim"]
    logits: Float[np.ndarray, " classes"] | None


@eqx.filter_jit
def _said(model: RecurrentModel, rows: Rows) -> Any:
    reading = jax.vmap(model)(rows)
    if model.classes is None:
        return reading.density, None
    return reading.density, jax.vmap(jax.vmap(model.classes))(reading.summary)


def said(model: RecurrentModel, spells: Sequence[Spell]) -> list[Said]:
    """What the model says of each series, given its own earlier (or other) values."""
    rows = rows_of(spells, model.log_rate.dtype)
    count = len(rows.t)
    block = min(_BLOCK, rounded(count))
    out: list[Said | None] = [None] * len(spells)
    for start in range(0, count, block):
        which = np.minimum(np.arange(start, start + block), count - 1)
        part = jax.tree.map(lambda a, which=which: a[which], rows)
        density, logits = jax.tree.map(np.asarray, _said(model, part))
        for r in range(min(block, count - start)):
            for p in np.flatnonzero(part.index[r] >= 0):
                slots = slice(part.begin[r, p], part.end[r, p] + 1)
                named = None if logits is None else logits[r, p]
                mean, sd = density.mean[r, slots], np.exp(density.log_sd[r, slots])
                out[part.index[r, p]] = Said(mean, sd, named)
    return [one for one in out if one is not None]


def own_slots(one: Series, reader: Reader, times: np.ndarray | None = None) -> np.ndarray:
    """Where the series' times (or some among them) lie among the slots of its spell."""
    made = reader.spell(one, times)
    asked = one.t if times is None else times
    return np.searchsorted(made.t, (asked - one.t[0]) / reader.units.span - 1e-12)


def log_densities(x: Any, mean: Any, sd: Any) -> np.ndarray:
    """``log N(x; mean, sd^2)``, elementwise; NaN where nothing was observed."""
    return -0.5 * (((x - mean) / sd) ** 2 + np.log(2 * np.pi)) - np.log(sd)


def judge(
    model: RecurrentModel, reader: Reader, train: list[Spell], series: list[Series],
    since: list[float] | None, labels: tuple[np.ndarray | None, np.ndarray | None], note: str,
) -> HeldOutSeries:  # fmt: skip
    """The model beside simple forecasts, on series that did not train; `train` without a grid."""
    from_when = since or [-np.inf] * len(series)
    spells = [reader.spell(one, since=t) for one, t in zip(series, from_when, strict=True)]
    found = said(model, spells)
    plain = [reader.plain.spell(one, since=t) for one, t in zip(series, from_when, strict=True)]
    scale = np.log(reader.units.state.scale)
    where = [own_slots(one, reader) for one in series]
    means = np.concatenate([f.mean[w] for f, w in zip(found, where, strict=True)])
    sds = np.concatenate([f.sd[w] for f, w in zip(found, where, strict=True)])
    x = _asked_values(plain)
    densities = {"constant mean": (np.zeros(x.shape), np.ones(x.shape))}
    densities |= _simple(plain, train, len(model.cells))
    scores = {k: _mean(log_densities(x, *v) - scale) for k, v in densities.items()}
    errors = {k: float(np.sqrt(_mean((x - v[0]) ** 2))) for k, v in densities.items()}
    observed = ~np.isnan(x)
    inside = np.abs(np.where(observed, x - means, np.inf)) <= ndtri(0.5 + _NOMINAL / 2) * sds
    named = {} if labels[1] is None else judged_labels(found, labels[0], labels[1])
    return HeldOutSeries(
        _mean(log_densities(x, means, sds) - scale), float(np.sqrt(_mean((x - means) ** 2))),
        scores, errors, int(inside.sum()), int(observed.sum()), note=note, **named,
    )  # fmt: skip


def judged_labels(
    found: list[Said], train: np.ndarray | None, label: np.ndarray
) -> dict[str, Any]:  # fmt: skip
    """Cross entropy, accuracy and, of two classes, the area under the curve."""
    keep = label >= 0
    logits = np.stack([f.logits for f in found if f.logits is not None])[keep].astype(float)
    label = label[keep]
    if not len(label):
        return {}
    logs = log_softmax(logits, axis=-1)
    seen = label if train is None else train[train >= 0]
    count = np.bincount(seen, minlength=logits.shape[1])
    frequency = (count + 1) / (count + 1).sum()
    made = {
        "labelled": len(label),
        "cross_entropy": -float(logs[np.arange(len(label)), label].mean()),
        "naive_cross_entropy": -float(np.log(frequency)[label].mean()),
        "accuracy": float((logs.argmax(-1) == label).mean()),
        "naive_accuracy": float((label == count.argmax()).mean()),
    }
    if logits.shape[1] == 2:
        made["auc"] = area_under_curve(logs[:, 1] - logs[:, 0], label == 1)
    return made


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive scores above a negative (Mann and Whitney 1947); ties half."""
    from scipy.stats import rankdata

    rank, n = rankdata(score), int(positive.sum())
    if n in (0, len(score)):
        return float("nan")
    return float((rank[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def _asked_values(spells: list[Spell]) -> np.ndarray:
    return np.concatenate(
        [s.x if s.asked is None else np.where(s.asked, s.x, np.nan) for s in spells]
    )


def _mean(values: np.ndarray) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if len(found) else float("nan")


def _simple(
    spells: list[Spell], train: list[Spell], sides: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The last value carried forward; from both sides the straight line too.

    Their standard deviations are the root mean squares of their misses on the training series.
    """
    made: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, guess in (("last value", last_values), ("straight line", straight_lines))[:sides]:
        miss = np.concatenate([s.x - guess(s) for s in train])
        count = np.maximum((~np.isnan(miss)).sum(0), 1)
        sd = np.maximum(np.sqrt(np.nansum(miss**2, axis=0) / count), _LEAST_SD)
        mean = np.concatenate([guess(s) for s in spells])
        unknown = np.isnan(mean)  # then it is the constant mean
        made[name] = np.where(unknown, 0.0, mean), np.where(unknown, 1.0, sd)
    return made


def last_values(spell: Spell) -> np.ndarray:
    """The value of every variable seen last before every slot, NaN where there is none."""
    known = ~np.isnan(spell.x)
    ever = np.concatenate([np.zeros((1, known.shape[1]), bool), np.cumsum(known, 0)[:-1] > 0])
    before = carried_to(spell.t, spell.x, np.nextafter(spell.t, -np.inf))
    return np.where(ever, before, np.nan)


def straight_lines(spell: Spell) -> np.ndarray:
    """Between the nearest other values on both sides; the one where there is only one."""
    left = last_values(spell)
    back = Spell(-spell.t[::-1], spell.x[::-1])
    right = last_values(back)[::-1]
    time = np.where(np.isnan(spell.x), np.nan, spell.t[:, None])
    t_left = last_values(Spell(spell.t, time))
    t_right = last_values(Spell(back.t, time[::-1]))[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (spell.t[:, None] - t_left) / (t_right - t_left)
    line = left + part * (right - left)
    return np.where(np.isnan(line), np.where(np.isnan(left), right, left), line)
