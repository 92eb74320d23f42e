"""The multi-scale frame of flows for images: blocks, squeeze, blocks, half of the channels leave.

Dinh et al. 2017, section 3.6. Blocks are flows of a flattened image; those of one shape lie behind
one another in one array, so that a scan runs them and XLA compiles one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...errors import InputError
from ...fit.batches import is_array
from ..continuous import Adaptive, ContinuousFlow, Grid
from ..divergence import Divergence, Exact
from ..flow import Flow, Moved
from .pixels import Logit, squeeze, unsqueeze

Shape = tuple[int, int, int]
_EXACT_UP_TO = 256  # pixels: the exact divergence costs as many evaluations of the field


def _start(y: Array) -> Moved:
    zero = jnp.zeros((), y.dtype)
    return Moved(y, zero, zero, zero, jnp.zeros((), jnp.int32), jnp.asarray(True))


def _then(before: Moved, after: Moved) -> Moved:
    """Two moves behind one another."""
    return Moved(
        after.y, before.log_det + after.log_det, before.kinetic + after.kinetic,
        before.jacobian + after.jacobian, before.nfe + jnp.asarray(after.nfe, jnp.int32),
        before.ok & after.ok,
    )  # fmt: skip


class Stack(eqx.Module):
    """Blocks of one shape behind one another; every array has a leading axis of blocks."""

    blocks: Flow

    def to_base(self, moved: Moved, key: Any) -> Moved:
        """From the first block to the last."""
        return self._run(moved, key, "to_base")

    def to_data(self, moved: Moved, key: Any) -> Moved:
        """Back from the last to the first."""
        return self._run(moved, key, "to_data")

    def _run(self, moved: Moved, key: Any, way: Literal["to_base", "to_data"]) -> Moved:
        arrays, static = eqx.partition(self.blocks, is_array)
        count = jax.tree.leaves(arrays)[0].shape[0]
        keys = None if key is None else jax.random.split(key, count)

        def body(moved: Moved, item: tuple) -> tuple[Moved, None]:
            block = eqx.combine(item[0], static)
            return _then(moved, getattr(block, way)(moved.y, key=item[1])), None

        last, _ = jax.lax.scan(body, moved, (arrays, keys), reverse=way == "to_data")
        return last


class Scale(eqx.Module):
    """Blocks at the shape that arrives, and behind a squeeze; then half of the channels leave."""

    before: Stack | None
    after: Stack | None
    shape: Shape = eqx.field(static=True)
    squeezes: bool = eqx.field(static=True)
    splits: bool = eqx.field(static=True)

    @property
    def inner(self) -> Shape:
        """The shape behind the squeeze."""
        h, w, c = self.shape
        return (h // 2, w // 2, 4 * c) if self.squeezes else self.shape

    def to_base(self, moved: Moved, key: Any) -> tuple[Moved, Array]:
        """The move of what stays, and the flattened part that leaves."""
        first, second = (None, None) if key is None else jax.random.split(key)
        if self.before is not None:
            moved = self.before.to_base(moved, first)
        if self.squeezes:
            moved = moved._replace(y=squeeze(moved.y.reshape(self.shape)).ravel())
        if self.after is not None:
            moved = self.after.to_base(moved, second)
        if not self.splits:
            return moved._replace(y=moved.y[:0]), moved.y
        image = moved.y.reshape(self.inner)
        half = self.inner[-1] // 2
        return moved._replace(y=image[..., :half].ravel()), image[..., half:].ravel()

    def to_data(self, moved: Moved, left: Array, key: Any) -> Moved:
        """The inverse, of what stayed and what left."""
        first, second = (None, None) if key is None else jax.random.split(key)
        if self.splits:
            h, w, c = self.inner
            parts = [v.reshape(h, w, c // 2) for v in (moved.y, left)]
            moved = moved._replace(y=jnp.concatenate(parts, axis=-1).ravel())
        else:
            moved = moved._replace(y=left)
        if self.after is not None:
            moved = self.after.to_data(moved, second)
        if self.squeezes:
            moved = moved._replace(y=unsqueeze(moved.y.reshape(self.inner)).ravel())
        return moved if self.before is None else self.before.to_data(moved, first)


class ImageFlow(Flow):
    """Pixels in grey levels, flattened, to a standard normal: logit, then scale after scale.

    A row is (h * w * c,) in [0, levels): whole numbers plus uniform noise (`dequantise`).
    `log_det` is in grey levels too, so ``bits_per_dim(log_prob(flow, x), flow.dim)`` needs no
    other correction. The base holds what leaves at the first scale in front, then the second, ...
    """

    logit: Logit
    scales: tuple[Scale, ...]
    shape: Shape = eqx.field(static=True)
    first_squeeze: bool = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    def to_base(self, x: Any, context: Any = None, *, key: Any = None) -> Moved:
        y, log_det = self.logit.to_base(jnp.asarray(x))
        if self.first_squeeze:
            y = squeeze(y.reshape(self.shape)).ravel()
        moved, left = _start(y)._replace(log_det=log_det), []
        for scale, k in zip(self.scales, self._keys(key), strict=True):
            moved, out = scale.to_base(moved, k)
            left.append(out)
        return moved._replace(y=jnp.concatenate(left))

    def to_data(self, z: Any, context: Any = None, *, key: Any = None) -> Moved:
        sizes = [math.prod(s.inner) // (2 if s.splits else 1) for s in self.scales]
        left = jnp.split(jnp.asarray(z), np.cumsum(sizes)[:-1])
        moved = _start(jnp.asarray(z)[:0])
        parts = zip(self.scales, left, self._keys(key), strict=True)
        for scale, out, k in reversed(list(parts)):
            moved = scale.to_data(moved, out, k)
        y = moved.y
        if self.first_squeeze:
            h, w, c = self.shape
            y = unsqueeze(y.reshape(h // 2, w // 2, 4 * c)).ravel()
        x, log_det = self.logit.to_data(y)
        return moved._replace(y=x, log_det=moved.log_det + log_det)

    def _keys(self, key: Any) -> Any:
        count = len(self.scales)
        return [None] * count if key is None else list(jax.random.split(key, count))

    def started(self, x: Float[Any, "rows dim"], seed: int = 0) -> ImageFlow:
        """The same flow with the pixels' own means and spreads as first step.

        `x` are whole numbers; training begins here (the data-dependent start of Glow's actnorm).
        """
        noise = np.random.default_rng(seed).uniform(size=np.shape(x))
        return eqx.tree_at(lambda f: f.logit, self, self.logit.started(np.asarray(x) + noise))

    def with_solver(
        self, solver: Grid | Adaptive, *, divergence: Divergence | None = None,
        costs: bool | None = None,
    ) -> ImageFlow:  # fmt: skip
        """The same flow by another solver, divergence, or with costs; no change without ODEs."""
        return self._each(lambda f: f.with_solver(solver, divergence=divergence, costs=costs))

    def with_costs(self, costs: bool = True) -> ImageFlow:
        """The same flow, whose moves return the integrals of kinetic energy and Jacobian."""
        return self._each(lambda f: f.with_solver(f.solver, costs=costs))

    def with_tolerance(
        self, rtol: float = 1e-5, atol: float | None = None, **options: Any
    ) -> ImageFlow:
        """The same flow, solved adaptively; exact divergence up to 256 pixels, else as trained."""
        solver = Adaptive(rtol, rtol if atol is None else atol, **options)
        return self.with_exact_divergence().with_solver(solver)

    def with_exact_divergence(self) -> ImageFlow:
        """The same flow with exact divergence up to 256 pixels, beyond as it was trained."""
        if self.dim > _EXACT_UP_TO:
            return self
        return self._each(lambda f: f.with_solver(f.solver, divergence=Exact()))

    def refined(self, times: int) -> ImageFlow:
        """The same flow on grids so many times as fine; no change where it is solved adaptively."""

        def finer(flow: ContinuousFlow) -> ContinuousFlow:
            solver = flow.solver
            if not isinstance(solver, Grid):
                return flow
            return flow.with_solver(Grid(times * solver.steps, solver.method, solver.memory))

        return self._each(finer)

    @property
    def is_continuous(self) -> bool:
        """Whether it is made of differential equations."""
        parts = jax.tree.leaves(self, is_leaf=lambda node: isinstance(node, ContinuousFlow))
        return any(isinstance(part, ContinuousFlow) for part in parts)

    def _each(self, change: Callable[[ContinuousFlow], ContinuousFlow]) -> ImageFlow:
        def continuous(node: Any) -> bool:
            return isinstance(node, ContinuousFlow)

        def changed(node: Any) -> Any:
            return change(node) if continuous(node) else node

        return jax.tree.map(changed, self, is_leaf=continuous)


def stacked(make: Callable[[Any], Flow], count: int, key: Any) -> Stack:
    """`count` blocks built by ``make(key)``, each with its own key."""
    return Stack(eqx.filter_vmap(make)(jax.random.split(key, count)))


def check_shape(shape: Any, dim: int, context: int, squeezes: int) -> None:
    """`InputError` where rows do not hold such an image, or it cannot be halved so often."""
    whole = isinstance(shape, tuple) and len(shape) == 3 and all(n > 0 for n in shape)
    if not whole:
        raise InputError(
            "shape",
            expected="(height, width, channels)",
            got=repr(shape),
            do="pass shape=(28, 28, 1)",
        )
    if math.prod(shape) != dim:
        raise InputError(
            "shape", expected=f"height * width * channels = {dim}, the length of a row",
            got=f"{shape}, which is {math.prod(shape)}", do="pass the shape of your images",
        )  # fmt: skip
    if context:
        raise InputError(
            "context", expected="no context: image flows have none yet", got=f"{context} columns",
            do="leave context= away, or fit one flow per class",
        )  # fmt: skip
    if any(n % 2**squeezes for n in shape[:2]):
        raise InputError(
            "shape", expected=f"height and width divisible by {2**squeezes} ({squeezes} squeezes)",
            got=f"{shape[0]} x {shape[1]}", do="ask for fewer scales, or crop or pad the images",
        )  # fmt: skip
