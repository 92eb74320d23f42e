"""How well a learned diffusion foretells the next value: beside naive laws, and its intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from .diffusion import Fluctuating
from .verdict import Measured, Verdict, verdict

_NOMINAL, _REACH = 0.9, 1.6448536269514722
_SAME = 0.005  # nats per transition that are no difference


@verdict.register(Fluctuating)
def _(estimator: Fluctuating) -> tuple[Verdict, Verdict]:
    """The log-likelihood of a transition, and how many next values lie inside its interval."""
    sde: Any = estimator
    return next_value(sde.log_likelihood_, naive_laws(sde), sde.innovations_.count), inside(sde)


def next_value(learned: float, naive: dict[str, float], count: int) -> Verdict:
    """The mean log density of the next value beside the best of the naive laws."""
    name = max(naive, key=lambda k: naive[k])
    if not np.isfinite(learned):
        sentence = f"the likelihood is not finite (naive law: {name}, {naive[name]:.3g} nats)."
        return Verdict("Next value", "none", sentence)
    gain = learned - naive[name]
    how = "no better than" if gain < _SAME else f"{gain:.2g} more than"
    total = "" if gain < _SAME else f", {gain * count:.0f} in all {count:,} transitions"
    sentence = (
        f"log-likelihood {learned:.3g} nats per transition, {how} the best naive law "
        f"({name}, {naive[name]:.3g}){total}."
    )
    return Verdict("Next value", f"{learned:.3g} vs {naive[name]:.3g}", sentence)


def inside(sde: Any) -> Verdict:
    """How many innovations lie inside the interval of a standard normal number."""
    values = sde.innovations_.values
    held = Measured(int((np.abs(values) < _REACH).sum()), values.size, _NOMINAL, "next values")
    sentence = (
        f"{held.inside:,} of {held.points:,} next values ({held.share:.1%}) inside the "
        f"{_NOMINAL:.0%} interval from the value before, in the data it was learned from."
    )
    return Verdict("Intervals", f"{held.share:.1%} of {_NOMINAL:.0%}", sentence)


def naive_laws(sde: Any) -> dict[str, float]:
    """Mean log density per transition of a random walk and of independent values.

    Both are Gaussian on the scale of the model, with their moments fitted to the same data; in
    raw units, as the likelihood of the model.
    """
    gap, start, end = transitions(sde)
    positive = np.asarray(sde.diffusion_.positive)
    z0, z1 = (np.where(positive, np.log(np.where(positive, x, 1.0)), x) for x in (start, end))
    jacobian = -np.where(positive, z1, 0.0).sum(1).mean()
    walk = (((z1 - z0) ** 2) / gap[:, None]).mean(0)
    dim = z0.shape[1]
    constant = -0.5 * dim * (1 + np.log(2 * np.pi)) + jacobian
    return {
        "random walk": float(constant - 0.5 * np.log(walk).sum() - 0.5 * dim * np.log(gap).mean()),
        "independent values": float(constant - 0.5 * np.log(z1.var(0)).sum()),
    }


def transitions(sde: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaps (n,), starts and ends (n, dim) between successive whole rows, in raw units."""
    gaps, starts, ends = [], [], []
    for one in sde.data_:
        whole = np.isfinite(one.x).all(1)
        gaps.append(np.diff(one.t[whole]))
        starts.append(one.x[whole][:-1])
        ends.append(one.x[whole][1:])
    return np.concatenate(gaps), np.concatenate(starts), np.concatenate(ends)
