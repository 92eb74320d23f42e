"""What the innovations say about the model: jumps, noise of measurement, gaps that are too long.

Of the right model with short gaps they are independent standard normal numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..records import Status

_SURE = 5.0  # standard errors: with thousands of innovations less is always seen somewhere
_HEAVY = 1.0  # excess kurtosis
_LINKED = 0.05  # correlation of successive innovations
_FAR = 0.03  # distance of distribution functions
_FORGOTTEN = 0.02  # share of an end's variance that its start explains


@dataclass(frozen=True, eq=False)
class Innovations:
    """Per variable (dim,): correlation with the next one, excess kurtosis, Kolmogorov's distance.

    `memory` is the share of the ends' variance that their starts explain, `count` how many;
    `values` (count, dim) are the innovations, series after series in order of time.
    """

    correlation: np.ndarray
    kurtosis: np.ndarray
    distance: np.ndarray
    memory: np.ndarray
    values: np.ndarray
    count: int


def examine(errors: np.ndarray, series: np.ndarray, memory: np.ndarray) -> Innovations:
    """The statistics of standardised innovations (n, dim) of transitions in order of time."""
    from scipy.special import ndtr

    n = len(errors)
    next_to = series[1:] == series[:-1]
    centred = errors - errors.mean(0)
    linked = (centred[1:] * centred[:-1])[next_to].sum(0) / max(next_to.sum(), 1)
    variance = np.maximum(centred.var(0), 1e-300)
    heavy = (centred**4).mean(0) / variance**2 - 3
    share = np.sort(ndtr(errors), axis=0)
    steps = np.arange(n + 1)[:, None] / n
    distance = np.maximum(share - steps[:-1], steps[1:] - share).max(0)
    return Innovations(linked / variance, heavy, distance, memory, errors, n)


def judge(found: Innovations, names: tuple[str, ...], loss: float, notes: tuple) -> Status:
    """Whether the model can be used, its cause where not, and a remedy."""
    if not (np.isfinite(loss) and np.isfinite(found.distance).all()):
        return Status(
            "diverged", "the likelihood is not finite", "the fields blow up along the data",
            "give first guesses nearer to the truth, or positive=False", False, notes,
        )  # fmt: skip
    score = f"log-likelihood {loss:.4g} nats per transition"
    for check in (_memory, _noise, _jumps, _linked, _shape):
        trouble = check(found, names)
        if trouble is not None:
            kind, what, cause, remedy = trouble
            return Status(kind, f"{score}, but {what}", cause, remedy, False, notes)
    message = f"converged: {score}; innovations look independent and normal"
    return Status("converged", message, notes=notes)


_Trouble = tuple[str, str, str, str] | None


def _worst(bad: np.ndarray, names: tuple[str, ...]) -> str:
    return ", ".join(n for n, b in zip(names, bad, strict=True) if b)


def _memory(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    lost = found.memory < _FORGOTTEN
    if not lost.any():
        return None
    return (
        "no memory", f"of {_worst(lost, names)} a value says next to nothing about the next one",
        "the gaps are longer than the process remembers, or the values are mostly noise",
        "sample more often: only the stationary law can be learned from these data",
    )  # fmt: skip


def _noise(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    bound = max(_LINKED, _SURE / found.count**0.5)
    noisy = found.correlation < -bound
    if not noisy.any():
        return None
    worst = found.correlation.min()
    return (
        "measurement noise",
        f"successive innovations of {_worst(noisy, names)} pull back (correlation {worst:.2f})",
        "noise of measurement, which the model takes for motion: drift and diffusion too large",
        "average neighbouring values or keep every k-th row, until this is gone",
    )  # fmt: skip


def _jumps(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    heavy = found.kurtosis > max(_HEAVY, _SURE * (24 / found.count) ** 0.5)
    if not heavy.any():
        return None
    return (
        "jumps",
        f"innovations of {_worst(heavy, names)} have heavy tails (excess kurtosis "
        f"{found.kurtosis.max():.1f})",
        "jumps, outliers, or a volatility that no state explains",
        "remove outliers, add what drives the volatility, or read the diffusion as an average",
    )  # fmt: skip


def _linked(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    linked = found.correlation > max(_LINKED, _SURE / found.count**0.5)
    if not linked.any():
        return None
    return (
        "hidden state",
        f"successive innovations of {_worst(linked, names)} are alike (correlation "
        f"{found.correlation.max():.2f})",
        "a slower variable or an input that the data do not show, or smoothed values",
        "add it as a variable or an input, pass raw values, or keep every k-th row",
    )  # fmt: skip


def _shape(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    bound = max(_FAR, 0.5 * _SURE / found.count**0.5)
    far = found.distance > bound
    if not far.any():
        return None
    return (
        "not Gaussian",
        f"innovations of {_worst(far, names)} are not normal (distance {found.distance.max():.2f})",
        "gaps too long for a Gaussian transition, jumps, or a scale that does not fit",
        "sample more often, or fit the other scale (positive=)",
    )  # fmt: skip
