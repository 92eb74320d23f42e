"""Bodies behind one interface: residual blocks, a Runge-Kutta network, an ODE.

A body is described by a frozen dataclass, which compares, prints and saves, and is built from one
kind of block. It carries a state over depth [0, 1].
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ..described import Described
from ..errors import InputError
from ..unfold import TABLEAUX, Memory, RecomputeField, Store
from .blocks import Block, Maker
from .transport import Solver, transport


class Passed(NamedTuple):
    """States at the end of the body, and evaluations of a block per step, forwards and back."""

    state: Any  # (rows, ...)
    nfe_forward: Any
    nfe_backward: Any


class Row(NamedTuple):
    """One row's states at the depths that were asked for, its NFE, and whether it was solved."""

    states: Any  # (depths, ...)
    nfe: Any
    ok: Any


class Body(eqx.Module):
    """Carries states over depth [0, 1]."""

    @abstractmethod
    def end(self, h: Array) -> Passed:
        """The states of a batch (rows, ...) at depth 1: what training differentiates."""

    @abstractmethod
    def states(self, h: Array, depths: Float[np.ndarray, " depths"]) -> Row:
        """One row's states at given depths."""


@dataclass(frozen=True, repr=False)
class BodyKind(Described, ABC):
    """A body before it is built: hyperparameters only."""

    @abstractmethod
    def build(self, make: Maker, *, key: Any) -> Body:
        """The body, of blocks that `make` makes."""


class ResidualBody(Body):
    blocks: Block  # leaves have a leading axis: one layer of memory is one entry
    count: int = eqx.field(static=True)

    def _step(self, batched: bool) -> Any:
        def step(h: Array, block: Any) -> tuple[Array, Array]:
            one = lambda y: y + block(0.0, y)  # noqa: E731
            h = jax.vmap(one)(h) if batched else one(h)
            return h, h

        return step

    def end(self, h: Array) -> Passed:
        step = self._step(True)
        h, _ = lax.scan(lambda h, block: (step(h, block)[0], None), h, self.blocks)
        return Passed(h, self.count, self.count)

    def states(self, h: Array, depths: Float[np.ndarray, " depths"]) -> Row:
        _, after = lax.scan(self._step(False), h, self.blocks)
        layers = jnp.concatenate([h[None], after])
        place = depths * self.count
        below = jnp.clip(jnp.floor(place).astype(int), 0, self.count - 1)
        part = (place - below).astype(h.dtype).reshape(-1, *(1,) * h.ndim)
        between = (1 - part) * layers[below] + part * layers[below + 1]
        return Row(between, jnp.asarray(self.count), jnp.asarray(True))


class SolvedBody(Body):
    """One block as the right-hand side of an ODE; `adjoint` says how its gradient is computed."""

    block: Block
    solver: Solver = eqx.field(static=True)
    adjoint: bool = eqx.field(static=True)
    memory: Memory = eqx.field(static=True)

    def end(self, h: Array) -> Passed:
        field = Together(self.block)
        if self.adjoint:
            state, nfe = transport(field, h, self.solver)
            return Passed(state, nfe, nfe)
        solved = self.solver.solve(field, h, memory=self.memory)
        return Passed(solved.ys[-1], solved.work.nfe, solved.work.nfe)

    def states(self, h: Array, depths: Float[np.ndarray, " depths"]) -> Row:
        if self.solver.rtol is None:
            inner = bool(np.any((depths != 0) & (depths != 1)))
            solved = self.solver.solve(self.block, h, dense=inner)
            if inner:
                found = solved(depths)
            else:
                found = solved.ys[np.asarray(depths, int)]
            return Row(found, solved.work.nfe, solved.ok)
        times, place = np.unique(np.concatenate([[0.0, 1.0], depths]), return_inverse=True)
        solved = self.solver.solve(self.block, h, times)
        return Row(solved.ys[place[2:]], solved.work.nfe, solved.ok)


class Together(eqx.Module):
    """A block on every row of a batch: the batch is one state of one ODE."""

    block: Block

    def __call__(self, t: Any, y: Array, u: Any = None) -> Array:
        return jax.vmap(lambda y: self.block(t, y))(y)


@dataclass(frozen=True, repr=False)
class Residual(BodyKind):
    """``h <- h + block_i(h)``: `blocks` blocks with weights of their own (He et al. 2016)."""

    blocks: int = 6

    def __post_init__(self) -> None:
        _at_least_one("blocks", self.blocks)

    def build(self, make: Maker, *, key: Any) -> Body:
        keys = jax.random.split(key, self.blocks)
        return ResidualBody(eqx.filter_vmap(lambda k: make(k, timed=False))(keys), self.blocks)


@dataclass(frozen=True, repr=False)
class RungeKutta(BodyKind):
    """One block, `steps` steps of a Runge-Kutta method; gradients through the method's steps."""

    steps: int = 2
    method: str = "rk4"

    def __post_init__(self) -> None:
        _at_least_one("steps", self.steps)
        _known_method(self.method)

    def build(self, make: Maker, *, key: Any) -> Body:
        return SolvedBody(make(key, timed=True), Solver(self.method, self.steps), False, Store())


@dataclass(frozen=True, repr=False)
class ODE(BodyKind):
    """One block as ``dh/dt``, gradients by the continuous adjoint in memory constant in depth.

    With `steps` a fixed grid; with `rtol` Dormand-Prince's adaptive method, forwards and back, the
    whole batch with one step size, as published (Chen et al. 2018).
    """

    steps: int = 2
    method: str = "rk4"
    rtol: float | None = None

    def __post_init__(self) -> None:
        _at_least_one("steps", self.steps)
        _known_method(self.method)
        check_tolerance("rtol", self.rtol)

    def build(self, make: Maker, *, key: Any) -> Body:
        solver = Solver(self.method, self.steps, self.rtol)
        return SolvedBody(make(key, timed=True), solver, True, RecomputeField())


def with_solver(body: Body, solver: Solver) -> Body:
    """The same block, solved otherwise; `InputError` for residual blocks, which nobody solves."""
    if not isinstance(body, SolvedBody):
        raise InputError(
            "with_tolerance", expected="a body that is solved: ODE or RungeKutta",
            got="residual blocks", do="fit with body=tk.classifiers.ODE()",
        )  # fmt: skip
    return dataclasses.replace(body, solver=solver)


def solver_of(body: Body) -> Solver | None:
    """How the body is solved; None of residual blocks."""
    return body.solver if isinstance(body, SolvedBody) else None


def check_tolerance(name: str, value: Any) -> None:
    """`InputError` unless it is None or a number between 0 and 1."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < 1):
        raise InputError(name, expected="a number between 0 and 1", got=repr(value), do="pass 1e-3")


def _at_least_one(name: str, value: Any) -> None:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise InputError(
            name, expected="a whole number of at least 1", got=repr(value), do="raise it"
        )


def _known_method(name: str) -> None:
    if name not in TABLEAUX:
        raise InputError(
            "method", expected=" or ".join(map(repr, TABLEAUX)), got=repr(name),
            do="pick one of these",
        )  # fmt: skip
