"""A trained flow of images as the density of whole grey levels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float, Int

from ...devices import arithmetic
from ...errors import InputError
from ..evaluation import COUNTED, Tolerance, Way, log_density_of, widened
from .evaluation import Draws, carried, dequantised, log_densities, whole
from .scales import ImageFlow

DRAWS = 4
"""Draws of the uniform noise, over which the log density of an image is averaged."""

_BLOCK = 32  # images that are solved at once: each waits for the slowest
_FINE = 4  # times the steps of training, where an adaptive solve gives up

Images = Int[np.ndarray, "images dim"]


@dataclass(frozen=True, eq=False)
class ImageDensity:
    """``E_u log p(x + u)`` with u uniform in [0, 1), a lower bound of ``log P(x)``, in nats.

    Rows are flattened images of whole grey levels. They are solved adaptively in float64, with
    exact divergence up to 256 pixels; beyond it is estimated by the noise of training, which the
    draws of u average, too. Theis et al. 2016, equation 3.
    """

    flow: ImageFlow
    tolerance: Tolerance = COUNTED

    @property
    def dim(self) -> int:
        """Pixels times channels."""
        return self.flow.dim

    @property
    def model(self) -> ImageFlow:
        """What was learned."""
        return self.flow

    @property
    def levels(self) -> int:
        """How many grey levels there are."""
        return self.flow.logit.levels

    @property
    def is_continuous(self) -> bool:
        """Whether the flow is made of differential equations."""
        return self.flow.is_continuous

    @property
    def is_exact(self) -> bool:
        """Whether log densities are computed without the noise of an estimated divergence."""
        return not self.is_continuous or self.flow.with_exact_divergence() is not self.flow

    def log_density(self, x: Images, context: None = None) -> Float[np.ndarray, " images"]:
        """Nats per image, the mean over `DRAWS` draws."""
        return self.drawn(x).logs.mean(0)

    def drawn(self, x: Images, draws: int = DRAWS, seed: int = 0) -> Draws:
        """Every draw; where an adaptive solve gives up, on a grid finer than that of training."""
        with arithmetic("float64"):
            flow = widened(self.flow).with_exact_divergence()
            made = log_densities(
                flow, x, draws=draws, seed=seed, block=_BLOCK, tolerance=self.tolerance
            )
        lost = np.flatnonzero(~made.ok)
        if len(lost) and self.is_continuous:
            again = self.on_grid(dequantised(x, draws, seed)[lost], _FINE, seed)
            made.logs.ravel()[lost] = again
        return made

    def on_grid(
        self, filled: Float[np.ndarray, "rows dim"], refine: int = 1, seed: int = 0
    ) -> Float[np.ndarray, " rows"]:
        """Log density of dequantised rows on the grid of training, `refine` times as fine."""
        with arithmetic("float64"):
            flow = widened(self.flow).with_exact_divergence().refined(refine)
            return log_density_of(carried(flow, "to_base", filled, seed=seed, block=_BLOCK))

    def sample(self, count: int, context: None = None, seed: int = 0) -> Images:
        """Images drawn from the density."""
        return self.to_data(np.random.default_rng(seed).standard_normal((count, self.dim)))

    def to_base(self, x: Images, context: None = None) -> Float[np.ndarray, "images dim"]:
        """Images to the base, from the middle of their grey levels."""
        return self._carried("to_base", np.asarray(x) + 0.5)

    def to_data(self, z: Float[np.ndarray, "images dim"], context: None = None) -> Images:
        """Rows of the base to whole grey levels; the inverse of `to_base`."""
        return whole(self._carried("to_data", z), self.levels)

    def _carried(self, way: Way, rows: np.ndarray) -> np.ndarray:
        with arithmetic("float64"):
            flow = widened(self.flow)
            if way == "to_base":  # the program of log densities; back, a cheap trace goes along
                flow = flow.with_exact_divergence()
            return carried(flow, way, rows, block=_BLOCK, tolerance=self.tolerance).y

    def with_tolerance(self, tolerance: Tolerance) -> ImageDensity:
        """The same density, solved more or less exactly."""
        if not self.is_continuous:
            raise InputError(
                "with_tolerance", expected="a continuous flow, as MultiscaleFFJORD",
                got="one that is not solved", do="leave it out",
            )  # fmt: skip
        return dataclasses.replace(self, tolerance=tolerance)

    def frames(self, x: Any, fractions: Any, context: None = None) -> NoReturn:
        """Images have none: their scales leave one after another."""
        raise InputError(
            "frames", expected="a flow of a table", got="a flow of images, which leave by scales",
            do="use transform and inverse_transform",
        )  # fmt: skip

    def log_density_at(self, x: Any, fraction: float, context: None = None) -> NoReturn:
        """None either; see `frames`."""
        self.frames(x, fraction)
