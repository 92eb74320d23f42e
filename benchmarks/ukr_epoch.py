"""An epoch of unsupervised kernel regression at N = 10 000: ours against the article's formulation.

An epoch is the error of all rows and its gradient by all latents, in float32 on both sides; theirs
is ``jax.value_and_grad`` of the (N, N, L) differences, as the article has it. Memory is what the
compiled program needs beside its arguments (its temporaries), and for ours what a process's peak
grows by on top of the imported libraries and the data.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tenkai.manifolds.estimate import Rows, error

from .harness import Contender, Race

ROWS, DIM = 10_000, 3
_GROWN = """
import resource, sys
sys.path.insert(0, ".")
from benchmarks.ukr_epoch import material, ours
import jax
u, rows = material({rows})
jax.block_until_ready(jax.jit(lambda a: a + 1)(u))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
jax.block_until_ready(ours()(u, rows))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def material(count: int) -> tuple[Any, Rows]:
    """Latents in units of the bandwidth as spread as trained ones, and rows of a saddle."""
    random = np.random.default_rng(0)
    z = random.uniform(-1, 1, (count, 2)).astype(np.float32)
    x = np.column_stack([z, z[:, 0] ** 2 - z[:, 1] ** 2])
    x -= x.mean(0)
    rows = Rows(*map(jnp.asarray, (x, np.ones((count, 1), np.float32), (x**2).sum())))
    return jnp.asarray(z * np.float32(np.sqrt(count) / 2)), rows


@functools.cache
def ours() -> Any:
    """Value and gradient in blocks. Rows stay in their own estimate, as theirs do."""
    return jax.jit(jax.value_and_grad(functools.partial(error, "gaussian", False)))


@functools.cache
def theirs() -> Any:
    """The article's: all differences, all kernels, and everything kept for the gradient."""

    def missed(u: Any, rows: Rows) -> Any:
        far = jnp.sum((u[:, None, :] - u[None, :, :]) ** 2, axis=2)
        k = jnp.exp(-0.5 * far)
        f = (k / jnp.sum(k, axis=1)[:, None]) @ rows.x
        return jnp.sum((rows.x - f) ** 2) / rows.total

    return jax.jit(jax.value_and_grad(missed))


def megabytes(program: Any, *given: Any) -> float:
    """Temporary memory of the compiled program."""
    return program.lower(*given).compile().memory_analysis().temp_size_in_bytes / 1e6


def grown(count: int) -> float:
    """MB by which a fresh process's peak grows in an epoch of ours, compilation included."""
    done = subprocess.run(
        [sys.executable, "-c", _GROWN.format(rows=count)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return float(done.stdout)


def prepare(quick: bool) -> Race:
    """Both in turn; the gradients differ by no more than rounding."""
    count = 300 if quick else ROWS
    u, rows = material(count)

    def contender(name: str, program: Any) -> Contender:
        def apart() -> float:
            exact, found = (np.asarray(p(u, rows)[1]) for p in (theirs(), program))
            return float(np.abs(found - exact).max() / np.abs(exact).max())

        return Contender(name, lambda: jax.block_until_ready(program(u, rows)), 1, apart)

    extras = {
        "ours, temporary MB": lambda: megabytes(ours(), u, rows),
        "the article's, temporary MB": lambda: megabytes(theirs(), u, rows),
        "ours, growth of a process, MB": lambda: grown(count),
    }
    contenders = [contender("ours", ours()), contender("the article's", theirs())]
    return Race("epoch", "gradient's error", contenders, 2 if quick else 3, extras)
