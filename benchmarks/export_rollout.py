"""A rollout of 100 steps of a learned equation: exported C, its jitted form, the estimator.

The field is a network 2-16-2 (or 2-64-64-2) behind the scalers of a `NeuralODE`, RK4, one step to
each next time; the C99 header is compiled with -O2. The error is the largest difference to the
jitted form, over the largest value. Everything is in float32, in which the estimator computes.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import tenkai as tk
from tenkai.export.programs import program_of
from tenkai.export.programs_ode import ends

from .harness import Contender, MissingPeer, Race

STEPS = 100


def prepare(quick: bool) -> list[Race]:
    """One race per size of the network."""
    return [race(quick, (16,)), race(quick, (64, 64))]


def race(quick: bool, widths: tuple[int, ...]) -> Race:
    """C against the jitted rollout and `forecast`."""
    model = fitted(widths[0], len(widths))
    end, gap = float(model.data_[0].t[-1]), float(model.predictor_.ensemble.step) * 0.999
    length = gap * float(model.predictor_.ensemble.time.scale)
    times = (end + length * np.arange(STEPS + 1)).astype(np.float32)
    y0 = model.predictor_.ensemble.raw(ends(model)[0]).astype(np.float32)  # where forecasts begin
    call = jax.jit(next(f for f in program_of(model).functions if f.name == "simulate").call)
    exported, ready = compiled(model)
    wanted = np.asarray(call(y0, times))
    size = np.abs(wanted).max()

    def off(found: Callable[[], Any]) -> Callable[[], float]:
        return lambda: float(np.abs(np.asarray(found()) - wanted).max() / size)

    def forecast() -> Any:
        return model.forecast(times=times[1:].astype(float)).mean

    def repeated(run: Callable[[], Any], count: int) -> Callable[[], Any]:
        def loop() -> None:
            for _ in range(count):
                run()

        return loop

    def jitted() -> Any:
        return jax.block_until_ready(call(y0, times))

    many, few = (50, 5) if quick else (500, 50)
    rollout = exported(y0, times)
    contenders = [
        Contender("C, -O2", repeated(rollout, many), many, off(rollout)),
        Contender("jitted", repeated(jitted, many), many, off(jitted)),
        Contender(
            "forecast", repeated(forecast, few), few, off(lambda: with_start(forecast(), y0))
        ),
    ]
    name = "-".join(map(str, (2, *widths, 2)))
    return Race(
        f"rollout of {STEPS} steps", "largest relative difference", contenders, 3 if quick else 9,
        {"ms until the C function's first answer in a loaded program": lambda: 1e3 * ready},
        f"field {name}",
    )  # fmt: skip


def with_start(path: Any, y0: np.ndarray) -> np.ndarray:
    """A forecast with the state before it, as rollouts have it."""
    return np.concatenate([y0[None], np.asarray(path)])


def fitted(width: int, depth: int) -> tk.NeuralODE:
    """A quick fit, one member: what it learned does not matter here."""
    data = tk.toys.sample("lotka_volterra", n=20, noise=0.05, seed=0)
    return tk.NeuralODE(
        members=1, width=width, depth=depth, steps=20, matching_steps=200, held_out=0.0,
        decay=0.0, jacobian=0.0, positive=False,
    ).fit(data)  # fmt: skip


def compiled(model: tk.NeuralODE) -> tuple[Callable[..., Callable[[], np.ndarray]], float]:
    """``exported(y0, times)() -> path`` of the compiled header, and seconds of its first call."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingPeer("a C compiler: expected cc; got none. Install gcc or clang")
    folder = Path(tempfile.mkdtemp())
    program = program_of(model)
    only = tk.export.Program(program.title, (program.functions[1],), program.notes)
    tk.export.c(only, folder / "model.h", dtype="float")
    (folder / "model.c").write_text(
        '#include "model.h"\n'
        "void run(size_t n, const float *y0, const float *times, float *path)\n"
        "{ model_simulate(n, y0, times, path); }\n"
    )
    library = folder / "model.so"
    command = [compiler, "-std=c99", "-O2", "-shared", "-fPIC", "-o", library, folder / "model.c"]
    subprocess.run([*map(str, command), "-lm"], check=True)
    run = ctypes.CDLL(str(library)).run
    real = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    run.argtypes, run.restype = [ctypes.c_size_t, real, real, real], None

    def exported(y0: np.ndarray, times: np.ndarray) -> Callable[[], np.ndarray]:
        path = np.zeros((len(times), len(y0)), np.float32)

        def rollout() -> np.ndarray:
            run(len(times), y0, times, path)
            return path

        return rollout

    short = exported(np.ones(2, np.float32), np.arange(2, dtype=np.float32))
    begun = time.perf_counter()
    short()
    return exported, time.perf_counter() - begun
