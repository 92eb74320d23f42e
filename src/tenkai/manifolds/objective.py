"""What is minimised over latents, and the rule that does it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ..objectives import Aux
from .estimate import Rows, error


class Latents(eqx.Module):
    """What trains: latents in units of the bandwidth. Whole numbers are carried, not trained.

    `narrowed` counts the steps in which the kernel narrowed, `least` is the logarithm of the least
    error so far in units of 1e-6.
    """

    u: Any
    narrowed: Any
    least: Any

    @classmethod
    def begun(cls, u: Any) -> Latents:
        """Before the first step."""
        return cls(u, np.int32(0), np.int32(2**30))

    def width(self, widening: Any, narrowing: Any) -> Any:
        """Of the kernel, in bandwidths."""
        left = 1 - self.narrowed.astype(self.u.dtype) / narrowing
        return widening ** jnp.maximum(left, 0)


class Material(NamedTuple):
    """Data of the objective."""

    rows: Rows
    weight: Any  # (n,), of sum 1
    settings: Any  # penalty in units of the bandwidth, widening, steps of narrowing, pays


@functools.cache
def objective(kernel: str, left_out: bool) -> Callable[..., tuple[Any, Aux]]:
    """``sum seen (x - f)^2 / sum seen x^2 + penalty mean |z|^2``; left out is a row of its own f.

    The kernel narrows geometrically from `widening` bandwidths to one: rows far apart on a torn
    start see each other before they settle (homotopy, Meinicke et al. 2005). It narrows in the
    steps whose value is at most `pays` times the least so far: where a narrower kernel gains
    nothing it stays wide, and the surface smooth.
    """

    def value(model: Latents, batch: Material, key: Any) -> tuple[Any, Aux]:
        penalty, widening, narrowing, pays = batch.settings
        width = model.width(widening, narrowing)
        found = error(kernel, left_out, model.u / width, batch.rows)
        found = found + penalty * batch.weight @ jnp.sum(model.u**2, axis=1)
        level = jnp.round(1e6 * jnp.log(jnp.maximum(found, 1e-30))).astype(model.least.dtype)
        falls = level <= model.least + 1e6 * jnp.log(pays)
        state = Latents(None, model.narrowed + falls, jnp.minimum(level, model.least))
        return found, Aux(state=lax.stop_gradient(state))

    return value


@functools.lru_cache(maxsize=32)
def descent(
    rate: float, steps: int, box: tuple[float, float] | None, rule: Any = None
) -> optax.GradientTransformation:
    """Adam at a rate that falls to zero in the second half; steps end at the box."""
    schedule = optax.join_schedules(
        [optax.constant_schedule(rate), optax.linear_schedule(rate, 0.0, steps - steps // 2)],
        [steps // 2],
    )
    # Rows of small weight must move as others do: of `eps` no more than float32 needs.
    made = rule or optax.adam(schedule, eps=1e-16)
    if box is None:
        return made

    def init(params: Any) -> Any:
        return optax.EmptyState()

    def clip(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda d, p: jnp.clip(p + d, *box) - p, updates, params), state

    return optax.chain(made, optax.GradientTransformation(init, clip))
