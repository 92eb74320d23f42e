"""Training of image flows by likelihood in bits per dimension, through `tenkai.fit`."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...fit import fit
from ...objectives import Aux, Objective, weight_decay
from ...records import Fit
from ..flow import base_log_prob, rows
from ..objectives import Weights
from .pixels import bits_per_dim, dequantise, read_images
from .scales import ImageFlow

_BLOCK = 250  # images that a validation moves at once


class Images(NamedTuple):
    """What an image flow learns from: rows of whole grey levels, and what regularises it."""

    x: Any  # (rows, h * w * c)
    weights: Any  # Weights


@dataclass(frozen=True)
class ImageRecipe:
    """How an image flow is trained.

    `kinetic` and `jacobian` weigh the integrals of RNODE per pixel, beside bits per dimension
    (Finlay et al. 2020: .01 and .01); `decay` the squared weights. The rate of Adam warms up over
    a twentieth of `steps` and falls to zero by a cosine. Every `every` steps the rows that are
    held out judge, the best flow is kept, and `patience` judgements without a better one stop.
    """

    steps: int = 1000
    batch: int = 64
    rate: float = 1e-2
    kinetic: float = 0.003
    jacobian: float = 0.003
    decay: float = 0.0
    every: int = 50
    patience: int | None = 8


@functools.cache
def likelihood(batch: int, *, costs: bool = False) -> Objective:
    """``-E log2 p(x + u) / dim`` over a batch, plus RNODE's costs per pixel and weight decay."""

    def objective(flow: ImageFlow, data: Images, key: Any) -> tuple[Any, Aux]:
        drawn, noise, estimate = jax.random.split(key, 3)
        i = jax.random.randint(drawn, (batch,), 0, len(data.x))
        moved = rows(flow.with_costs(costs).to_base, dequantise(data.x[i], noise), None, estimate)
        log_prob = jnp.mean(base_log_prob(moved.y) + moved.log_det)
        w: Weights = data.weights
        cost = w.kinetic * jnp.mean(moved.kinetic) + w.jacobian * jnp.mean(moved.jacobian)
        loss = bits_per_dim(log_prob, flow.dim) + cost / flow.dim + w.decay * weight_decay(flow)
        nfe = jnp.mean(jnp.asarray(moved.nfe, log_prob.dtype))
        return loss, Aux(nfe_forward=nfe, nfe_backward=nfe)

    return objective


@functools.cache
def held_out() -> Objective:
    """Bits per dimension of all rows, with the same noise every time, without penalties."""

    def objective(flow: ImageFlow, data: Images, key: Any) -> tuple[Any, Aux]:
        noise, estimate = jax.random.split(key)
        x = dequantise(data.x, noise)
        log_prob = in_blocks(flow.with_costs(False), x, estimate)[0]
        return bits_per_dim(jnp.mean(log_prob), flow.dim), Aux(weight=len(data.x))

    return objective


def in_blocks(flow: ImageFlow, x: Any, key: Any, block: int = _BLOCK) -> tuple[Any, Any, Any]:
    """``log p`` in nats, NFE and whether solved, of rows of pixels, so many at a time."""
    keys = jax.random.split(key, len(x))

    def one(row: tuple) -> tuple[Any, Any, Any]:
        moved = flow.to_base(row[0], key=row[1])
        return base_log_prob(moved.y) + moved.log_det, moved.nfe, moved.ok

    return jax.lax.map(one, (x, keys), batch_size=min(block, len(x)))


@functools.cache
def _rule(rate: float, steps: int) -> optax.GradientTransformation:
    warm = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, warm, max(steps, warm + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


def train(
    flow: ImageFlow,
    x: Any,
    *,
    validation: Any = None,
    recipe: ImageRecipe = ImageRecipe(),
    seed: int = 0,
    start: bool = True,
    **options: Any,
) -> Fit:
    """Fit an image flow to rows of whole grey levels (rows, h * w * c).

    `validation` rows decide which flow is kept. With `start` the pixels' own means and spreads
    come first. `options` are those of `tenkai.fit.fit`. Raises `InputError` for rows that are not
    images of whole grey levels.

    >>> import jax, numpy as np
    >>> from tenkai.flows import MultiscaleFFJORD
    >>> x = np.random.default_rng(0).integers(0, 16, (50, 16))
    >>> flow = MultiscaleFFJORD((4, 4, 1), scales=1, channels=4, depth=1, levels=16)
    >>> made = train(flow.build(16, key=jax.random.key(0)), x, recipe=ImageRecipe(steps=2))
    >>> made.status.kind
    'finished'
    """
    x = read_images(x, flow.dim, flow.logit.levels)
    flow = flow.started(x, seed) if start else flow
    weights = Weights(0.0, recipe.decay, recipe.kinetic, recipe.jacobian, 0.0)
    held = None
    if validation is not None:
        rows_held = read_images(validation, flow.dim, flow.logit.levels)
        held = Images(rows_held.astype(np.float32), weights)
    return fit(
        flow, likelihood(recipe.batch, costs=recipe.kinetic > 0 or recipe.jacobian > 0),
        Images(x.astype(np.float32), weights), rule=_rule(recipe.rate, recipe.steps),
        steps=recipe.steps, key=jax.random.key(seed), validation=held, validate=held_out(),
        patience=recipe.patience if held is not None else None,
        every=min(recipe.every, recipe.steps), **options,
    )  # fmt: skip


def train_for(
    flow: ImageFlow,
    x: Any,
    minutes: float,
    *,
    validation: Any = None,
    recipe: ImageRecipe = ImageRecipe(),
    seed: int = 0,
) -> Fit:
    """As `train`, for about so many minutes: a short annealed cycle, then one over what is left.

    The first cycle tells what compiling and a step cost; its steps are a tenth of the recipe's.
    The second begins where it ended, with as many steps as fit (Loshchilov and Hutter 2017).
    """
    begun = time.perf_counter()
    every = max(3, recipe.steps // 40)
    opening = dataclasses.replace(recipe, steps=4 * every, every=every, patience=None)
    made = train(flow, x, validation=validation, recipe=opening, seed=seed)
    # The first interval compiles the training, the second the validation at the first's end.
    seconds = [entry["seconds"] for entry in made.history]
    pace = max((seconds[-1] - seconds[1]) / (2 * every), 1e-4)
    compiling = max(seconds[0] - pace * every, 0.0)
    first = opening.steps
    left = 60 * minutes - (time.perf_counter() - begun) - compiling
    steps = math.floor(left / pace)
    if steps < first:
        return made
    main = dataclasses.replace(recipe, steps=steps, every=max(1, steps // 20), patience=None)
    more = train(made.model, x, validation=validation, recipe=main, seed=seed + 1, start=False)
    history = [*made.history, *({**h, "step": h["step"] + first} for h in more.history)]
    return dataclasses.replace(
        more, history=history, seconds=time.perf_counter() - begun, steps=first + steps
    )
