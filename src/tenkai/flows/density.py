"""A trained density in raw units: an ensemble of flows between two scalings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from . import evaluation
from .continuous import ContinuousFlow
from .evaluation import STRICT, Evaluation, Tolerance
from .flow import Flow
from .mixture import Mixture, tail_sample
from .whitening import Shaping, Whitening

Rows = Float[np.ndarray, "rows dim"]


@dataclass(frozen=True, eq=False)
class Density:
    """``p(x | context) = sum_k w_k p_k``, rows and contexts in raw units, NumPy float64."""

    mixture: Mixture
    scale: Shaping
    context: Whitening | None = None
    tolerance: Tolerance = STRICT

    @property
    def dim(self) -> int:
        """Variables of a row."""
        return self.mixture.flows.dim

    @property
    def model(self) -> Mixture:
        """What was learned."""
        return self.mixture

    @property
    def best(self) -> Flow:
        """The flow of the largest weight, for rows that `scale` has shaped."""
        return self.mixture.member(self.mixture.best)

    @property
    def is_continuous(self) -> bool:
        """Whether the flows are differential equations."""
        return isinstance(self.mixture.flows, ContinuousFlow)

    def log_density(self, x: Rows, context: Any = None) -> Float[np.ndarray, " rows"]:
        """Nats per row, in the units of the rows."""
        return self.evaluated(x, context)[0]

    def evaluated(
        self, x: Rows, context: Any = None
    ) -> tuple[Float[np.ndarray, " rows"], list[Evaluation]]:
        """Log density, and what the solve of every member took."""
        z, c = self.scale.forward(x), self.scaled(context)
        logs, moved = evaluation.members_log_density(self.mixture, z, c, tolerance=self.tolerance)
        total = evaluation.combined(logs, self.mixture.shares)
        return total + self.scale.log_det(x), moved

    def scaled(self, context: Any) -> Any:
        """Contexts as the flows read them."""
        return None if self.context is None else self.context.forward(context)

    def sample(self, count: int, context: Any = None, seed: int = 0) -> Rows:
        """Rows drawn from the mixture; `context` has one row for each."""
        random = np.random.default_rng(seed)
        shares = self.mixture.shares
        member = random.choice(len(shares), count, p=shares)
        z = random.standard_normal((count, self.dim))
        c, out = self.scaled(context), np.empty_like(z)
        for k in range(len(self.mixture)):
            mine = np.flatnonzero(member == k)
            if len(mine):
                out[mine] = self._moved(
                    self.mixture.member(k), "to_data", z[mine], None if c is None else c[mine]
                ).y
        far = np.flatnonzero(member == len(self.mixture))
        out[far] = tail_sample(random, (len(far), self.dim))
        return self.scale.inverse(out)

    def to_base(self, x: Rows, context: Any = None) -> Rows:
        """Rows of data to the base, by the best member."""
        return self._moved(self.best, "to_base", self.scale.forward(x), self.scaled(context)).y

    def to_data(self, z: Rows, context: Any = None) -> Rows:
        """Rows of the base to the data, by the best member; the inverse of `to_base`."""
        return self.scale.inverse(self._moved(self.best, "to_data", z, self.scaled(context)).y)

    def _moved(self, flow: Flow, way: evaluation.Way, x: Rows, context: Any) -> Evaluation:
        return evaluation.evaluate(flow, way, x, context, tolerance=self.tolerance)

    def frames(
        self, x: Rows, fractions: Any, context: Any = None
    ) -> Float[np.ndarray, "frames rows dim"]:
        """Where rows of data stand at fractions of the way from base (0) to data (1)."""
        flow, z, c = self._continuous("frames"), self.scale.forward(x), self.scaled(context)
        count, n = len(fractions), len(z)
        known = None if c is None else np.tile(c, (count, 1))
        moved = evaluation.between(
            flow, np.tile(z, (count, 1)), 1.0, np.repeat(fractions, n), known,
            tolerance=self.tolerance,
        )  # fmt: skip
        return self.scale.inverse(moved.y).reshape(count, n, self.dim)

    def log_density_at(
        self, x: Rows, fraction: float, context: Any = None
    ) -> Float[np.ndarray, " rows"]:
        """Log density of the best member's flow when it has gone a fraction of its way."""
        flow, z = self._continuous("frames"), self.scale.forward(x)
        moved = evaluation.between(
            flow, z, fraction, 0.0, self.scaled(context), tolerance=self.tolerance
        )
        return evaluation.log_density_of(moved) + self.scale.log_det(x)

    def _continuous(self, what: str) -> ContinuousFlow:
        flow = self.best
        if not isinstance(flow, ContinuousFlow):
            raise InputError(
                what, expected="a continuous flow, as FFJORD or PlanarCNF",
                got=f"a {type(flow).__name__}, which has no time",
                do="use transform and inverse_transform",
            )  # fmt: skip
        return flow

    def with_tolerance(self, tolerance: Tolerance) -> Density:
        """The same density, solved more or less exactly."""
        self._continuous("with_tolerance")
        return dataclasses.replace(self, tolerance=tolerance)
