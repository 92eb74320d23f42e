"""What the innovations say about the model: jumps, noise of measurement, gaps that are too long.

They also tell where drift or diffusion miss something that depends on the state. Of the right
model with short gaps they are independent standard normal numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..records import Status

_SURE = 5.0  # standard errors: with thousands of innovations less is always seen somewhere
_HEAVY = 1.0  # excess kurtosis
_LINKED = 0.05  # correlation of successive innovations
_FAR = 0.03  # distance of distribution functions
_CHANCE = 1e-3  # of a right model, that its innovations seem to depend on the state
_DEGREES = 3  # Legendre polynomials of a state's rank
_FORGOTTEN = 0.02  # share of an end's variance that its start explains


@dataclass(frozen=True, eq=False)
class Innovations:
    """Per variable (dim,): correlation with the next one, excess kurtosis, Kolmogorov's distance.

    `memory` is the share of the ends' variance that their starts explain, `count` how many;
    `structure` (2, dim, dim) the largest t-value of the mean and of the size of an innovation
    (second axis) against functions of a variable at the start (third axis);
    `values` (count, dim) are the innovations, series after series in order of time.
    """

    correlation: np.ndarray
    kurtosis: np.ndarray
    distance: np.ndarray
    memory: np.ndarray
    structure: np.ndarray
    values: np.ndarray
    count: int


def examine(
    errors: np.ndarray, starts: np.ndarray, series: np.ndarray, memory: np.ndarray
) -> Innovations:
    """The statistics of standardised innovations (n, dim) of transitions in order of time.

    `starts` (n, dim) are the states that the transitions began at.
    """
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
    return Innovations(
        linked / variance, heavy, distance, memory, structure(errors, starts), errors, n
    )


def structure(errors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Largest t-values (2, dim, dim) of innovations and of their squares against functions of z.

    The functions are Legendre polynomials of the rank of each variable at the start, which no
    outlier can rule; ``t = sum f y / sqrt(sum f^2 y^2)`` holds for innovations of any variance
    (White 1980). For the right model they are sums of martingale differences: about normal.
    """
    from scipy.stats import rankdata

    if not np.isfinite(errors).all():
        return np.full((2, errors.shape[1], starts.shape[1]), np.nan)
    rank = (2 * rankdata(starts, axis=0) - 1) / len(starts) - 1
    f = np.polynomial.legendre.legvander(rank, _DEGREES)[..., 1:]
    f = f - f.mean(0)
    both = np.stack([errors, errors**2])
    both = both - both.mean(1, keepdims=True)
    top = np.einsum("sni,njk->sijk", both, f)
    bottom = np.sqrt(np.einsum("sni,njk->sijk", both**2, f**2))
    return np.abs(top / np.maximum(bottom, 1e-300)).max(-1)


def judge(found: Innovations, names: tuple[str, ...], loss: float, notes: tuple) -> Status:
    """Whether the model can be used, its cause where not, and a remedy."""
    if not (np.isfinite(loss) and np.isfinite(found.distance).all()):
        return Status(
            "diverged", "the likelihood is not finite", "the fields blow up along the data",
            "give first guesses nearer to the truth, or positive=False", False, notes,
        )  # fmt: skip
    score = f"log-likelihood {loss:.4g} nats per transition"
    for check in (_memory, _missed, _noise, _jumps, _linked, _shape):
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


def _missed(found: Innovations, names: tuple[str, ...]) -> _Trouble:
    from scipy.special import ndtri

    bound = -ndtri(_CHANCE / (2 * _DEGREES * found.structure.size))  # Bonferroni, two-sided
    if not (found.structure > bound).any():
        return None
    which, end, begin = np.unravel_index(np.argmax(found.structure), found.structure.shape)
    field, what = (("drift", "mean"), ("diffusion", "size"))[which]
    t = found.structure.max()
    return (
        "missed structure",
        f"the {what} of the innovations of {names[end]} depends on {names[begin]} (t = {t:.1f})",
        f"the {field} misses how the motion of {names[end]} depends on {names[begin]}",
        f"look at the dots beside the {field} in the report; give an equation another term or "
        f"leave {field}= out; of networks, sample more often or try the other scale (positive=)",
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
