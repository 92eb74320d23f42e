"""A path through given ends: straight line plus what vanishes at both ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..errors import InputError
from ..models.trials import Expansion, Interval, Sine, Table, Trial


class BoundPath(eqx.Module):
    """``y(t) = (1 - s) y_a + s y_b + 4 s (1 - s) N(t)`` with s from 0 to 1 over the interval.

    Ends that are given stand as they are; those that are free are numbers to learn. Sines vanish at
    both ends by themselves.
    """

    inner: Any
    free: Float[Array | np.ndarray, " free"]
    given: tuple[tuple[float | None, ...], ...] = eqx.field(static=True)  # None: free
    interval: Interval = eqx.field(static=True)
    envelope: bool = eqx.field(static=True)

    def __call__(self, t: Any) -> Float[Array, " dim"]:
        low, high = self.interval
        s = (t - low) / (high - low)
        ends = self.ends()
        inner = self.inner(t)
        inner = 4 * s * (1 - s) * inner if self.envelope else inner
        return (1 - s) * ends[0] + s * ends[1] + inner

    def ends(self) -> Float[Array | np.ndarray, "2 dim"]:
        """Both ends, given or learned."""
        given = np.array(self.given, float)
        if isinstance(self.free, np.ndarray):  # of a record: nothing may be compiled
            given[np.isnan(given)] = self.free
            return given
        at = np.nonzero(np.isnan(given))
        return jnp.asarray(np.nan_to_num(given)).at[at].set(self.free)

    def table(self, t: Float[np.ndarray, " n"]) -> Table:
        """What multiplies the coefficients in y, y' and y'' at times (n,); linear trials only."""
        g, dg, ddg = self.inner.basis.table(t, self.interval)
        if not self.envelope:
            return g, dg, ddg
        length = self.interval[1] - self.interval[0]
        s = ((t - self.interval[0]) / length)[:, None]
        e, de, dde = 4 * s * (1 - s), 4 * (1 - 2 * s) / length, -8 / length**2
        return e * g, e * dg + de * g, e * ddg + 2 * de * dg + dde * g

    def line(self, t: Float[np.ndarray, " n"]) -> tuple[Any, Any]:
        """The straight line between the ends, and its slope."""
        low, high = self.interval
        s, ends = ((t - low) / (high - low))[:, None], self.ends()
        slope = (ends[1] - ends[0]) / (high - low)
        return (1 - s) * ends[0] + s * ends[1], np.ones_like(s) * slope

    def through(self, guess: Callable[[Any], Any]) -> BoundPath:
        """The path of the same family nearest to a guess, by least squares; free ends follow it."""
        t, y = _asked(self.inner, guess)
        given = np.array(self.given, float)
        open_ = np.isnan(given)
        ends = np.where(open_, y[[0, -1]], given)
        s = ((t - t[0]) / (t[-1] - t[0]))[:, None]
        rest = y - (1 - s) * ends[0] - s * ends[1]
        coefficients = np.linalg.lstsq(self.table(t)[0], rest, rcond=1e-13)[0]
        numbers = (coefficients, ends[open_])
        return eqx.tree_at(lambda p: (p.inner.coefficients, p.free), self, numbers)


class PenalisedPath(eqx.Module):
    """The trial alone: ends are held by penalties (or are free)."""

    inner: Any

    def __call__(self, t: Any) -> Float[Array, " dim"]:
        return self.inner(t)

    def through(self, guess: Callable[[Any], Any]) -> PenalisedPath:
        """The nearest path of the trial to a guess, by least squares."""
        t, y = _asked(self.inner, guess)
        table = self.inner.basis.table(t, self.inner.interval)[0]
        coefficients = np.linalg.lstsq(table, y, rcond=1e-13)[0]
        return eqx.tree_at(lambda p: p.inner.coefficients, self, coefficients)


def _asked(inner: Any, guess: Callable[[Any], Any]) -> tuple[np.ndarray, np.ndarray]:
    """A guess at enough times to fit the trial to it."""
    if not isinstance(inner, Expansion):
        raise InputError(
            "guess", expected="a trial that is linear in its numbers", got=type(inner).__name__,
            do="use Polynomial, Sine or RBF, or no guess",
        )  # fmt: skip
    t = np.linspace(*inner.interval, 4 * len(inner.coefficients) + 1)
    return t, np.stack([np.asarray(guess(one), float).reshape(-1) for one in t])


def bound(trial: Trial, interval: Interval, ends: Float[np.ndarray, "2 dim"]) -> BoundPath:
    """The path of a trial through `ends`, of which NaN are free and begin at the other end."""
    start = np.where(np.isnan(ends), np.nan_to_num(ends[::-1]), ends)
    inner = trial.begin(interval, ends.shape[1])
    given = tuple(tuple(None if np.isnan(v) else float(v) for v in end) for end in ends)
    return BoundPath(inner, start[np.isnan(ends)], given, interval, not isinstance(trial, Sine))


def along(path: Any, t: Float[np.ndarray, " n"]) -> tuple[Any, Any, Any]:
    """``y, y', y''`` at times (n,), each (n, dim): tabulated once where the trial is linear.

    Else by forward mode over forward mode.
    """
    if isinstance(path.inner, Expansion):
        bound_ = isinstance(path, BoundPath)
        g, dg, ddg = path.table(t) if bound_ else path.inner.basis.table(t, path.inner.interval)
        c = path.inner.coefficients
        y, dy = path.line(t) if bound_ else (0.0, 0.0)
        return y + g @ c, dy + dg @ c, ddg @ c

    def first(s: Any) -> tuple[Any, Any]:
        return jax.jvp(path, (s,), (jnp.ones_like(s),))

    def second(s: Any) -> tuple[Any, Any, Any]:
        (y, dy), (_, ddy) = jax.jvp(first, (s,), (jnp.ones_like(s),))
        return y, dy, ddy

    return jax.vmap(second)(jnp.asarray(t))
