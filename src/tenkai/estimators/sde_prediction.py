"""From a learned `SDE` in standardised units to answers in the user's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..curriculum.problem import drivers_of, inputs_at
from ..data import Scaler, Series, TimeScaler, Trajectories
from ..diffusions.learning import jacobian, pairs_of, walk
from ..diffusions.simulation import FINER, paths, raw_fields
from ..diffusions.stationary import stationary
from ..diffusions.transitions import pack, substeps
from ..errors import InputError
from ..models.sde import SDE, Units
from ..records import Stationary


@dataclass(frozen=True, eq=False)
class Diffusion:
    """Stacked members' fields, the data they were learned from, and substeps per usual gap."""

    model: SDE
    data: Trajectories
    finer: int

    @property
    def units(self) -> Units:
        """Scaling of state, time and inputs; the same for all members."""
        units = self.model.units
        inputs = units.inputs
        return Units(
            Scaler(*(np.asarray(a)[0] for a in units.state)),
            TimeScaler(*(np.asarray(a)[0] for a in units.time)),
            None if inputs is None else Scaler(*(np.asarray(a)[0] for a in inputs)),
        )

    @property
    def positive(self) -> np.ndarray:
        """Which variables (dim,) are on a log scale."""
        return np.asarray(self.units.state.positive)

    @property
    def dtype(self) -> np.dtype:
        """Of the arithmetic."""
        return np.asarray(self.model.units.state.scale).dtype

    def fields(self, y: np.ndarray, t: np.ndarray | None, u) -> tuple[np.ndarray, np.ndarray]:
        """Drift (members, n, dim) and diffusion (members, n, ...) in raw units."""
        units = self.units
        now = np.broadcast_to(self.data[0].t[:1] if t is None else t, len(y))
        tau = units.time.forward(now).astype(self.dtype)
        z = units.state.forward(y).astype(self.dtype)
        drive = self._drive(u, len(y))
        scaled = None if drive is None else self.scaled_inputs(drive).astype(self.dtype)
        return raw_fields(self.model, tau, z, scaled)

    def scaled_inputs(self, u: np.ndarray) -> np.ndarray:
        """Standardised inputs."""
        assert self.units.inputs is not None
        return self.units.inputs.forward(u)

    def _drive(self, u, count: int) -> np.ndarray | None:
        """Inputs and covariates (count, k) in raw units; what is not given is at its mean."""
        scaler, names = self.units.inputs, (*self.data.input_names, *self.data.static_names)
        if scaler is None and u is None:
            return None
        given = np.zeros((0, 0)) if u is None else np.asarray(u, float)
        allowed = {0, self.data.n_inputs, len(names)} if names else {0}
        if (
            given.ndim not in (1, 2)
            or given.shape[-1] not in allowed
            or scaler is None
            or (not np.isfinite(given).all())
        ):
            raise InputError(
                "u", expected=f"finite numbers for {', '.join(names)}"
                if names else "none: the model was learned without inputs", got=repr(u),
                do="pass one row for all states, or a row for each",
            )  # fmt: skip
        out = np.tile(np.asarray(scaler.offset, float), (count, 1))
        if given.size:
            out[:, : given.shape[-1]] = given
        return out

    def simulate(
        self, start: np.ndarray, t: np.ndarray, u: np.ndarray | None, seed: int
    ) -> np.ndarray:
        """Raw paths (paths, time, dim) from raw states at ``t[0]``."""
        units = self.units
        scaled = None if u is None else self.scaled_inputs(u)
        z = paths(
            self.model, units.state.forward(start), units.time.forward(t), scaled,
            FINER * self.finer, seed,
        )  # fmt: skip
        x = units.state.inverse(z)
        return np.where(np.isfinite(x), x, np.nan)

    def ahead(
        self, one: Series, row: int, at: np.ndarray, u: np.ndarray | None, count: int, seed: int
    ) -> np.ndarray:
        """Raw paths (paths, time, dim) at later times, out of a row of a series."""
        start = np.tile(one.x[row], (count, 1))
        t = np.concatenate([one.t[row : row + 1], at])
        drive = None
        if self.units.inputs is not None:
            known = drivers_of(one.u, one.static, len(one))
            times, rows = one.t, known
            if u is not None:
                later = drivers_of(u, one.static, len(at))
                times, rows = np.concatenate([one.t, at]), np.concatenate([known, later])
            drive = inputs_at(t, times, rows, self.data.hold == "previous")
        return self.simulate(start, t, drive, seed)[:, 1:]

    def stationary(self, u, seed: int) -> Stationary:
        """The law that it settles to with constant inputs."""
        drive = self._drive(u, 1)
        scaled = None if drive is None else self.scaled_inputs(drive)[0].astype(self.dtype)
        seen = np.concatenate([s.x[np.isfinite(s.x).all(1)] for s in self.data])
        starts = self.units.state.forward(seen)
        found = stationary(self.model, self.units.state, starts, scaled, FINER * self.finer, seed)
        return replace(found, names=self.data.names)

    def log_density(self, data: Trajectories) -> np.ndarray:
        """Log density (n,) of every transition of other series, in raw units, members' mean."""
        units = self.units
        pairs = pairs_of(data.series, units, data.hold == "previous")
        if not len(pairs.gap):
            raise InputError(
                "data", expected="at least one transition between observed rows", got="none",
                do="pass a longer series",
            )  # fmt: skip
        packed = pack(pairs, self.finer * substeps(pairs))
        errors, logs, _ = walk(self.model, packed, self.dtype)
        dim = errors.shape[-1]
        each = -0.5 * (errors**2).sum(-1) - logs - 0.5 * dim * np.log(2 * np.pi)
        return each.mean(0) + jacobian(pairs, units)
