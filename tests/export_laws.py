"""Functions that every export must reproduce, and how an exported file is run.

A case is a pure JAX function with arguments drawn from a seed. `LAWS` has at least one case for
each kind of operation that has a form.
"""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special

from tenkai.convolution import ConcatConvolution, Convolution
from tenkai.export import Argument, Function, Program
from tenkai.fields import ACTIVATIONS, MLP, Linear, NeuralField, Sum, together
from tenkai.solve.adams import Adams, adams
from tenkai.unfold import Interval, NoisyInterval, Segments, Store, euler_maruyama, rk4, unfold

rng = np.random.default_rng(20)
COMPILER = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]


@dataclass(frozen=True)
class Case:
    """`call` of `arrays`; `shapes` names sizes that stay open, with `open_in_c` in C too."""

    name: str
    call: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    shapes: tuple[tuple[int | str, ...], ...] | None = None
    open_in_c: bool = False

    def function(self, *, fixed: bool = False) -> Function:
        shapes = [a.shape for a in self.arrays]
        if self.shapes is not None and not fixed:
            shapes = self.shapes
        kinds = {"f": "real", "i": "integer", "b": "boolean"}
        arguments = tuple(
            Argument(f"in{i}", tuple(s), f"argument {i}", kinds[a.dtype.kind])
            for i, (s, a) in enumerate(zip(shapes, self.arrays, strict=True))
        )
        outputs = tuple(f"out{i}" for i in range(len(self.expected("float64"))))
        return Function(f"law_{self.name}", self.call, arguments, outputs, f"Law: {self.name}.")

    def expected(self, dtype: str) -> list[np.ndarray]:
        return _expected(dtype)[self.name]

    def given(self, dtype: str) -> list[np.ndarray]:
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]


@functools.cache
def _expected(dtype: str) -> dict[str, list[np.ndarray]]:
    """What JAX gives for every case, by one program: compiling many costs minutes."""

    def every(given: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {k.name: jax.tree.leaves(k.call(*given[k.name])) for k in LAWS}

    with jax.enable_x64(dtype == "float64"):
        quick = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
        out = jax.jit(every, compiler_options=quick)({k.name: k.given(dtype) for k in LAWS})
        return jax.tree.map(np.asarray, out)


def real(*shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return np.exp(rng.normal(size=shape))


def inside(*shape: int) -> np.ndarray:
    return rng.uniform(-0.95, 0.95, size=shape)


def whole(low: int, high: int, *shape: int) -> np.ndarray:
    return rng.integers(low, high, size=shape).astype(np.int32)


def _cast(layer: Any) -> Callable[..., Any]:
    """The layer in the precision of what it is given."""
    return lambda *x: jax.tree.map(lambda w: jnp.asarray(w, x[-1].dtype), layer)(*x)


ODD = np.array([-3.5, -2.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, np.inf, -np.inf, np.nan, 1e-30, 30.0])

_UNARY = {
    "exp exp2 expm1 sinh cosh sin cos tan asinh atan erf erfc tanh logistic cbrt neg sign "
    "floor ceil abs square is_finite": real,
    "log sqrt rsqrt lgamma digamma": positive,
    "asin acos atanh erf_inv log1p": inside,
}
_BINARY = [
    *("add", "sub", "mul", "div", "max", "min", "rem", "atan2", "nextafter"),
    *("eq", "ne", "lt", "le", "gt", "ge"),
]


def _tables() -> list[Case]:
    cases = []
    for names, draw in _UNARY.items():
        for name in names.split():
            cases.append(Case(name, getattr(lax, name), (draw(3, 7),)))
    cases += [Case(n, getattr(lax, n), (real(4, 3), real(4, 3))) for n in _BINARY]
    for name in ("floor", "ceil", "sign", "abs", "max", "min", "tanh", "exp", "logistic", "erf"):
        more = (ODD[::-1].copy(),) if name in ("max", "min") else ()
        cases.append(Case(f"odd_{name}", getattr(lax, name), (ODD, *more)))
    for name in ACTIVATIONS:
        net = MLP((3, 8, 5, 2), name, key=np.random.default_rng(4))
        cases.append(Case(f"mlp_{name}", jax.vmap(net), (real(6, 3),), (("rows", 3),)))
    return cases


def _elements() -> list[Case]:
    a, i, j = real(5, 4), whole(-9, 9, 5, 4), whole(1, 5, 5, 4)
    flag = rng.uniform(size=(5, 4)) < 0.5
    return [
        Case("acosh", lax.acosh, (1 + positive(9),)),
        Case("pow", lax.pow, (positive(7), real(7))),
        Case("integer_pow", lambda x: (x**3, x**-2, x**7, x**1, x**0), (positive(5),)),
        Case("round", lambda x: (jnp.round(x), lax.round(x)), (np.r_[ODD[:10], real(6) * 4],)),
        Case("clamp", lambda x: (jnp.clip(x, -0.5, 0.5), lax.clamp(-x, x, x + 1)), (a,)),
        Case("bits", lambda x, y: (x & y, x | y, x ^ y, ~x, x << 2), (i, j)),
        Case("logic", lambda f, x: (f & (x > 0), f | (x > 0), ~f, f ^ (x > 0)), (flag, a)),
        Case("whole", lambda x, y: (lax.div(x, y), lax.rem(x, y), x * y - abs(x), -x), (i, j)),
        Case("whole_python", lambda x, y: (x // y, x % y, jnp.sign(x)), (i, j)),
        Case("select", lambda f, x: (jnp.where(f, x, -x), jnp.where(f, 1.0, 0.0)), (flag, a)),
        Case("select_whole", lambda k, x: lax.select_n(k, x, -x, 2 * x), (whole(0, 3, 5, 4), a)),
        Case("cast", lambda x, k: (x.astype(jnp.int32), k.astype(x.dtype), x > 0, k != 0), (a, i)),
        Case("single", lambda x: (x.astype(jnp.float32) * 2).astype(x.dtype), (np.float32(a),)),
        Case("xlogy", special.xlogy, (positive(5), positive(5))),
        Case("normal", lambda x: (special.ndtr(x), special.log_ndtr(x)), (real(9),)),
        Case("softmax", lambda x: (jax.nn.softmax(x), jax.nn.logsumexp(x, axis=0)), (a,)),
        Case("known", lambda x: x + jnp.arange(4.0) * jnp.ones((5, 1)), (a,)),
        Case(
            "scalars",
            lambda x, y: (x * y + 1, x > y, jnp.exp(-(x**2)) * jnp.ones(3)),
            (real(), real()),
        ),
        Case("argument_out", lambda x: (x, x[0], jnp.zeros(3), x), (a,)),
        Case("gradient", jax.grad(lambda x: jnp.sum(jnp.tanh(x @ x.T) ** 2)), (a,)),
    ]


def _shapes() -> list[Case]:
    a, b = real(3, 4, 5), real(4, 5)
    open_rows = (("rows", 4),)
    return [
        Case("broadcast", lambda x, y: x + y[None] * x[:1], (a, b)),
        Case(
            "outer",
            lambda x, y: jnp.exp(-((x[:, None] - y[None]) ** 2)),
            (real(6), real(4)),
            (("rows",), (4,)),
        ),
        Case("broadcast_whole", lambda x: jnp.broadcast_to(x[:, None], (4, 3, 5)).sum(1), (b,)),
        Case(
            "reshape", lambda x: (x.reshape(12, 5) * 2, x.reshape(-1), x.reshape(5, 2, 6) + 1), (a,)
        ),
        Case("squeeze", lambda x: jnp.squeeze(x[:, :1, :1]) * 2, (a,)),
        Case("transpose", lambda x: (x.transpose(2, 0, 1) + 1, x[0].T @ x[1], x.T), (a,)),
        Case("rev", lambda x: (x[::-1, ::-1], jnp.flip(x) * 2), (b,)),
        Case("slice", lambda x: (x[1:, ::2], x[:, -1], x[2, 1:3] * 2, x[1:][:1]), (b,)),
        Case("split", lambda x: [p * 2 for p in jnp.split(x, [1, 3], axis=1)], (b,)),
        Case(
            "concatenate", lambda x: (jnp.concatenate([x, -x[:2]]), jnp.stack([x, x + 1], -1)), (b,)
        ),
        Case(
            "pad",
            lambda x: (
                jnp.pad(x, ((1, 2), (0, 3))),
                lax.pad(x, 2.0, [(-1, 1, 1), (2, -1, 2)]),
                lax.pad(x, 0.0, [(-1, -1, 0), (-1, -1, 0)]),
            ),
            (b,),
        ),
        Case(
            "iota",
            lambda x: x * jnp.arange(x.shape[0])[:, None] / x.shape[0],
            (real(6, 4),),
            open_rows,
        ),
        Case("mean_of_rows", lambda x: (x - x.mean(0)) / x.std(0), (real(6, 4),), open_rows),
        Case("eye", lambda x: x @ jnp.eye(4) + jnp.tri(4), (real(4, 4),)),
        Case(
            "dynamic_slice",
            lambda x, i: (lax.dynamic_slice(x, (i, i - 1), (2, 3)), x[i], x[:, i + 9]),
            (b, whole(1, 3)),
        ),
        Case(
            "dynamic_update_slice",
            lambda x, i: (x.at[i].set(7.0), lax.dynamic_update_slice(x, 2 * x[:2, :2], (i, i))),
            (b, whole(2, 3)),
        ),
        Case(
            "gather",
            lambda x, i: (x[i], x[:, i], x[i, i], jnp.take(x, i, axis=1), x[-1]),
            (b, whole(0, 4, 6)),
        ),
        Case(
            "gather_fill",
            lambda x, i: (
                jnp.take(x, i, axis=0, mode="fill"),
                x.at[i].get(mode="clip"),
                x.at[i, 1].get(mode="fill", fill_value=3.0),
            ),
            (b, whole(-9, 9, 8)),
        ),
        Case(
            "gather_batch",
            lambda x, i: (jnp.take_along_axis(x, i, axis=1), jax.vmap(lambda r, k: r[k])(x, i)),
            (b, whole(0, 5, 4, 2)),
        ),
        Case(
            "gather_windows",
            jax.vmap(lambda i, x: lax.dynamic_slice(x, (i, 0 * i), (2, 3)), (0, None)),
            (whole(0, 9, 6), b),
        ),
        Case(
            "scatter",
            lambda x, i, u: (
                x.at[i].add(u),
                x.at[:, i[:3]].multiply(2.0),
                x.at[i].max(u),
                x.at[i].min(u),
            ),
            (b, whole(0, 6, 6), real(6, 5)),
        ),
        Case(
            "scatter_set",
            lambda x, i: (x.at[i, :2].set(0.5), x.at[1, 2].set(9.0), x.at[::2].set(1.0)),
            (b, np.int32([3, 1, 7])),
        ),
        Case(
            "scatter_batch",
            jax.vmap(lambda x, i, u: x.at[i].add(u)),
            (b, whole(0, 5, 4, 2), real(4, 2)),
        ),
        Case("histogram", lambda i: jnp.zeros(5).at[i].add(1.0), (whole(0, 5, 20),)),
    ]


def _reductions() -> list[Case]:
    a, i = real(3, 4, 5), whole(-5, 5, 4, 3)
    return [
        Case("sums", lambda x: (x.sum(), x.sum(0), x.sum((0, 2)), x.prod(1), x.mean(-1)), (a,)),
        Case("extremes", lambda x: (x.max(), x.min(0), x.max((1, 2))), (a,)),
        Case(
            "odd_extremes", lambda x: (x.max(), x.min(), jnp.argmax(x), jnp.nanmax(x[2:])), (ODD,)
        ),
        Case("whole_sums", lambda x: (x.sum(0), x.prod(0), x.max(1), x.min()), (i,)),
        Case("all_any", lambda x: ((x > 0).all(1), (x > 1).any(), jnp.sum(x > 0, axis=2)), (a,)),
        Case("argmax", lambda x: (jnp.argmax(x, 1), jnp.argmin(x, -1), jnp.argmax(x > 0, 0)), (a,)),
        Case(
            "cumulative",
            lambda x: (
                jnp.cumsum(x, 0),
                jnp.cumprod(x, 1),
                lax.cummax(x, 2),
                lax.cummin(x, 1),
                lax.cumlogsumexp(x, 1),
                lax.cumsum(x, 1, reverse=True),
            ),
            (a,),
        ),
        Case("sort", lambda x: (jnp.sort(x, 1), jnp.argsort(x, 0), jnp.sort(x[0], 0)[::-1]), (a,)),
        Case(
            "sort_ties",
            lambda i, x: lax.sort((i, i[::-1], x), dimension=0, num_keys=2),
            (whole(0, 2, 8), whole(0, 3, 8)),
        ),
        Case("sort_odd", lambda x: jnp.sort(x), (ODD,)),
        Case("top_k", lambda x: lax.top_k(x, 2), (a,)),
        Case(
            "quantile",
            lambda x: (jnp.quantile(x, jnp.array([0.05, 0.5, 0.9]), axis=0), jnp.median(x, 1)),
            (real(7, 4),),
        ),
        Case("interp", jnp.interp, (real(9), np.sort(real(6)), real(6)), (("rows",), (6,), (6,))),
        Case("searchsorted", jnp.searchsorted, (np.sort(real(9)), real(5))),
        Case(
            "window",
            lambda x: (
                lax.reduce_window(x, 0.0, lax.add, (1, 2, 3), (1, 2, 1), "VALID"),
                lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2), (1, 1, 2), "SAME"),
                lax.reduce_window(
                    x, jnp.inf, lax.min, (2, 2, 2), (1, 1, 1), "VALID", window_dilation=(1, 2, 2)
                ),
            ),
            (a,),
        ),
    ]


def _products() -> list[Case]:
    a, b, m = real(5, 4), real(4, 6), real(4, 4)
    spd = m @ m.T + np.eye(4)
    w, k = real(16, 3).astype(np.float32), real(3, 3, 2, 4)
    dims = ("NCHW", "OIHW", "NCHW")

    def small(x: Any) -> Any:
        with together(1):
            return Linear(3, 5, key=np.random.default_rng(0))(x)

    return [
        Case("matmul", lambda x, y: (x @ y, x[0] @ y, x @ y[:, 0], x[0] @ x[1]), (a, b)),
        Case("matmul_rows", lambda x: (x @ w.T, w @ x[0]), (real(5, 3),)),
        Case("matmul_open", lambda x: x @ w.T, (real(5, 3),), (("rows", 3),)),
        Case(
            "matmul_batch",
            lambda x, y: (x @ y, jnp.einsum("bij,bkj->bik", x, x)),
            (real(3, 2, 4), real(3, 4, 5)),
        ),
        Case(
            "einsum",
            lambda x, y: (
                jnp.einsum("ij,kjl->lik", x, y),
                jnp.tensordot(y, x, ([1], [1])),
                jnp.einsum("ij,ij->", x, x),
            ),
            (real(5, 4), real(2, 4, 7)),
        ),
        Case("transposed", lambda x: (x.T @ x, x @ x.T), (a,)),
        Case("small_product", small, (real(3),)),
        Case(
            "sum_of_products",
            lambda x, y: (jnp.sum(x[:, :, None] * y[None], 1), jnp.sum(x * x[:1], 1)),
            (a, b),
        ),
        Case(
            "convolution",
            lambda x: lax.conv_general_dilated(
                x,
                jnp.asarray(k, x.dtype),
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            ),
            (real(2, 6, 5, 2),),
        ),
        Case(
            "convolution_odd",
            lambda x, y: (
                lax.conv_general_dilated(
                    x, y, (2, 1), ((1, 0), (2, 1)), (1, 2), (2, 1), dimension_numbers=dims
                ),
                lax.conv_general_dilated(
                    x, y[:4, :1], (1, 2), "VALID", dimension_numbers=dims, feature_group_count=2
                ),
            ),
            (real(2, 2, 7, 6), real(4, 2, 3, 2)),
        ),
        Case(
            "convolution_1d",
            lambda x, y: lax.conv(x, y, (1,), "SAME"),
            (real(2, 3, 9), real(5, 3, 4)),
        ),
        Case(
            "layer_convolution", _cast(Convolution(2, 3, key=jax.random.key(1))), (real(6, 5, 2),)
        ),
        Case(
            "layer_convolution_rows",
            jax.vmap(_cast(Convolution(2, 3, key=jax.random.key(1), size=2))),
            (real(3, 6, 5, 2),),
        ),
        Case(
            "layer_convolution_point",
            _cast(Convolution(2, 3, key=jax.random.key(1), size=1)),
            (real(6, 5, 2),),
        ),
        Case(
            "layer_concat_convolution",
            _cast(ConcatConvolution(2, 3, key=jax.random.key(1))),
            (real(), real(6, 5, 2)),
        ),
        Case("cholesky", lambda x: jnp.linalg.cholesky(x), (spd,)),
        Case(
            "triangular",
            lambda x, y: [
                lax.linalg.triangular_solve(
                    x, y if left else y.T, left_side=left, lower=low, transpose_a=t, unit_diagonal=u
                )
                for left in (True, False)
                for low in (True, False)
                for t in (True, False)
                for u in (True, False)
            ],
            (np.tril(m) + 3 * np.eye(4) + np.triu(m), real(4, 3)),
        ),
    ]


def _flow() -> list[Case]:
    net = NeuralField(2, key=np.random.default_rng(0), width=16, depth=1, time_dependent=True)
    driven = NeuralField(2, key=np.random.default_rng(1), inputs=1, width=8, depth=2)
    both = Sum((net, lambda t, y, u=None: -0.1 * y))
    times, start = np.linspace(0, 2, 21), real(2)
    open_times = ((2,), ("times",))

    def path(field: Callable, memory: Any = None) -> Callable:
        def run(y0: Any, t: Any) -> Any:
            more = {} if memory is None else {"memory": memory}
            xs = Interval(t[:-1], jnp.diff(t))
            last, ys = unfold(rk4(field), y0, xs, **more)
            return jnp.concatenate([y0[None], ys]) * 3.0 + 1.0, last

        return run

    def noisy(y0: Any, dw: Any) -> Any:
        step = euler_maruyama(net, lambda t, y, u: 0.1 + y**2)
        xs = NoisyInterval(jnp.arange(20) * 0.1, jnp.full(20, 0.1), dw)
        return unfold(step, y0, jax.tree.map(lambda x: jnp.asarray(x, y0.dtype), xs))[1]

    def inputs(y0: Any, u: Any) -> Any:
        xs = Interval(jnp.arange(20) * 0.1, jnp.full(20, 0.1, y0.dtype), u[:-1], u[1:])
        return unfold(rk4(driven), y0, xs)

    return [
        Case("rk4", path(net), (start, times), open_times, open_in_c=True),
        Case("adams", lambda y: adams(net, y, Adams(), 20, Store())[0], (start,)),
        Case("rk4_sum", path(both), (start, times), open_times, open_in_c=True),
        Case("rk4_segments", path(net, Segments()), (start, times)),
        Case(
            "rk4_rows",
            lambda y, t: jax.vmap(path(net), (0, None))(y, t),
            (real(5, 2), times),
            (("rows", 2), ("times",)),
        ),
        Case("euler_maruyama", noisy, (start, 0.3 * real(20, 2))),
        Case("inputs", inputs, (start, real(21, 1))),
        Case(
            "reversed",
            lambda x: lax.scan(lambda c, v: (c * 0.5 + v, (c, v * c)), x[0], x, reverse=True),
            (real(9, 3),),
            (("n", 3),),
            open_in_c=True,
        ),
        Case(
            "swapped",
            lambda a, b: lax.scan(
                lambda c, _: ((c[1], c[0] + c[1], c[2] + 1), c[0][::-1]), (a, b, 0), None, length=7
            ),
            (real(3), real(3)),
        ),
        Case(
            "nested",
            lambda x: lax.scan(
                lambda c, r: lax.scan(lambda d, v: (jnp.sin(d + v), d), c, r),
                jnp.zeros((), x.dtype),
                x,
            ),
            (real(4, 3),),
        ),
        Case("map", lambda x: lax.map(lambda r: (r @ r, jnp.sort(r)), x), (real(5, 3),)),
        Case(
            "old_and_new",
            lambda x: lax.scan(lambda c, v: (c + v, (c * v, c - 1)), x[0], x),
            (real(9, 3),),
        ),
        Case("fori", lambda x: lax.fori_loop(0, 10, lambda i, s: s * 0.9 + i, x), (real(3),)),
        Case(
            "memory",
            lambda x: lax.fori_loop(1, 6, lambda i, s: s.at[i].set(s[i - 1] * 2 + x[i]), x),
            (real(6, 2),),
        ),
        Case(
            "while",
            lambda x: lax.while_loop(
                lambda s: jnp.sum(s[0] ** 2) > 0.1, lambda s: (s[0] * 0.7, s[1] + 1), (x, 0)
            ),
            (real(4),),
        ),
        Case(
            "while_rows",
            jax.vmap(lambda x: lax.while_loop(lambda s: s > 0.3, lambda s: s * 0.8, x)),
            (positive(6),),
        ),
        Case(
            "cond",
            lambda p, x: lax.cond(
                p > 0, lambda v: (jnp.sin(v), v.sum()), lambda v: (v * 2, v[0]), x
            ),
            (real(), real(3)),
        ),
        Case(
            "switch",
            lambda i, x: lax.switch(i, [lambda v: v + 1, lambda v: v @ v * v, jnp.exp], x),
            (whole(0, 9), real(3)),
        ),
        Case(
            "cond_in_scan",
            lambda x: lax.scan(
                lambda c, v: (lax.cond(v[0] > 0, lambda q: q + v, lambda q: q * 0.5, c), c),
                jnp.zeros(2),
                x,
            ),
            (real(6, 2),),
        ),
        Case(
            "newton",
            lambda x: lax.fori_loop(
                0,
                5,
                lambda i, s: s - jnp.linalg.solve(jnp.eye(2) + jnp.outer(x, x), s - x),
                jnp.zeros_like(x),
            ),
            (real(2),),
        ),
    ]


LAWS = [*_tables(), *_elements(), *_shapes(), *_reductions(), *_products(), *_flow()]
assert len({case.name for case in LAWS}) == len(LAWS)


def close(ours: Sequence[np.ndarray], case: Case, dtype: str) -> None:
    """Equal to JAX: 1e-12 (float64) or 1e-5 (float32) of the largest number, shapes, dtypes."""
    expected = case.expected(dtype)
    assert len(ours) == len(expected)
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine.shape == theirs.shape
        if theirs.dtype.kind != "f":
            np.testing.assert_array_equal(mine, theirs)
            continue
        assert mine.dtype == theirs.dtype
        finite = np.abs(theirs[np.isfinite(theirs)])
        scale = float(finite.max(initial=1e-300))
        tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype] * scale
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)


def program(cases: Sequence[Case], *, c: bool = False) -> Program:
    functions = tuple(k.function(fixed=c and not k.open_in_c) for k in cases)
    return Program("Laws of the exports", functions)


class Compiled:
    """A header, compiled strictly together with a caller of each of its functions."""

    def __init__(self, header: Path, *flags: str):
        self.text = header.read_text()
        found = re.findall(r"static inline void (\w+)\(([^)]*)\)\n\{", self.text)
        self.parameters = {name: p.split(", ") for name, p in found}
        lines = [f'#include "{header.name}"']
        for name, parameters in self.parameters.items():
            names = ", ".join(re.findall(r"\w+$", p)[0] for p in parameters)
            lines += [
                f"void call_{name}({', '.join(parameters)});",
                f"void call_{name}({', '.join(parameters)}) {{ {name}({names}); }}",
            ]
        source = header.with_suffix(".c")
        source.write_text("\n".join(lines) + "\n")
        library = header.with_suffix(f".{'_'.join(flags).replace('-', '')}.so")
        command = [
            COMPILER,
            *STRICT,
            *flags,
            "-shared",
            "-fPIC",
            "-o",
            str(library),
            str(source),
            "-lm",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
        assert done.returncode == 0, done.stderr[:4000]
        self.library = ctypes.CDLL(str(library))

    def call(
        self, name: str, case: Case, dtype: str, sizes: Sequence[int] = ()
    ) -> list[np.ndarray]:
        outputs = [np.full(e.shape, 77, e.dtype) for e in case.expected(dtype)]
        return self.run(name, case.given(dtype), outputs, sizes)

    def run(
        self,
        name: str,
        given: Sequence[np.ndarray],
        outputs: list[np.ndarray],
        sizes: Sequence[int] = (),
    ) -> list[np.ndarray]:
        given = [np.array(a, order="C") for a in given]
        kinds = {"float64": ctypes.c_double, "float32": ctypes.c_float, "int32": ctypes.c_int}
        values: list[Any] = [ctypes.c_size_t(n) for n in sizes]
        for a in given:
            pointer = a.ctypes.data_as(ctypes.c_void_p)
            values.append(
                kinds.get(a.dtype.name, ctypes.c_ubyte)(a[()]) if a.ndim == 0 else pointer
            )
        values += [o.ctypes.data_as(ctypes.c_void_p) for o in outputs]
        getattr(self.library, f"call_{name}")(*values)
        return outputs
