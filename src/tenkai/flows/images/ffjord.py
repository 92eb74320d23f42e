"""FFJORD for images: continuous flows with convolutional fields at several scales."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ...solve.adams import Adams
from ..continuous import Adaptive, ContinuousFlow, Grid
from ..divergence import Divergence, Hutchinson
from ..flow import Abilities, Architecture
from .dynamics import ConvDynamics
from .pixels import Logit
from .scales import ImageFlow, Scale, Shape, check_shape, stacked

_HUTCHINSON = Hutchinson()
_EIGHT_STEPS = Grid(8, Adams())


@dataclass(frozen=True, repr=False)
class MultiscaleFFJORD(Architecture):
    """Continuous flow of images, scale after scale (Grathwohl et al. 2019, appendix B.1).

    Rows are flattened images (h * w * c,) of whole grey levels ``0 ... levels - 1``, to which
    uniform noise is added. At every scale but the last: `blocks` continuous flows, a squeeze,
    `blocks` more, and half of the channels leave; at the last one `blocks` continuous flows.

    Args:
        shape: (height, width, channels).
        scales: how many; None: as many as the paper's, until the image is below 4 x 4 or odd.
            1 is the paper's single flow.
        blocks: continuous flows one after another, at each shape (the paper: 2).
        channels, depth: of the hidden layers, 3 x 3 convolutions that see the time.
        activation: by name.
        divergence, solver: in training; `flow.with_tolerance(1e-5)` solves adaptively.
        end, learn_end: T of every continuous flow, and whether it is a parameter.
        levels, alpha: grey levels; the logit is of ``alpha + (1 - 2 alpha) x / levels``.
        first_squeeze: squeeze the image before everything else: a quarter of the price.

    >>> import jax
    >>> flow = MultiscaleFFJORD((8, 8, 1), levels=17).build(64, key=jax.random.key(0))
    >>> flow.dim
    64

    `build` raises `InputError` where ``dim`` is not ``h * w * c`` or cannot be halved so often.
    """

    shape: Shape = (28, 28, 1)
    scales: int | None = None
    blocks: int = 1
    channels: int = 64
    depth: int = 3
    activation: str = "softplus"
    divergence: Divergence = _HUTCHINSON
    solver: Grid | Adaptive = _EIGHT_STEPS
    end: float = 1.0
    learn_end: bool = False
    levels: int = 256
    alpha: float = 0.05
    first_squeeze: bool = False
    abilities: ClassVar[Abilities] = Abilities("ODE solve", "ODE solve", free_form=True)
    whiten: ClassVar[bool] = False
    dequantise: ClassVar[bool] = True

    def build(self, dim: int, *, context: int = 0, key: Any) -> ImageFlow:
        count, first = self._count(), int(self.first_squeeze)
        check_shape(self.shape, dim, context, count - 1 + first)
        h, w, c = self.shape
        shape, scales = ((h // 2, w // 2, 4 * c) if first else self.shape), []
        for i, k in enumerate(jax.random.split(key, count)):
            last = i == count - 1
            scales.append(self._scale(shape, last, k))
            h, w, c = scales[-1].inner
            shape = (h, w, c // 2)
        logit = Logit(dim, self.levels, self.alpha)
        return ImageFlow(
            logit=logit, scales=tuple(scales), shape=self.shape, first_squeeze=self.first_squeeze,
            dim=dim, context=0,
        )  # fmt: skip

    def _count(self) -> int:
        """FFJORD's number of scales, as far as the image can be halved."""
        if self.scales is not None:
            return self.scales
        count, (h, w, _) = 1, self.shape
        if self.first_squeeze:
            h, w = h // 2, w // 2
        while h % 2 == 0 and w % 2 == 0 and min(h, w) // 2 >= 4:
            count, h, w = count + 1, h // 2, w // 2
        return count

    def _scale(self, shape: Shape, last: bool, key: Any) -> Scale:
        first, second = jax.random.split(key)
        h, w, c = shape
        squeezed = (h // 2, w // 2, 4 * c)
        before = stacked(functools.partial(self._block, shape), self.blocks, first)
        after = None
        if not last:
            after = stacked(functools.partial(self._block, squeezed), self.blocks, second)
        return Scale(before, after, shape, squeezes=not last, splits=not last)

    def _block(self, shape: Shape, key: Any) -> ContinuousFlow:
        field = ConvDynamics(
            shape, key=key, channels=self.channels, depth=self.depth, activation=self.activation
        )
        return ContinuousFlow(
            field=field, root_end=jnp.sqrt(jnp.asarray(self.end)), dim=math.prod(shape), context=0,
            divergence=self.divergence, solver=self.solver, learn_end=self.learn_end,
        )  # fmt: skip
