"""Where programs run: host devices, precision, compilation cache.

Only `configure` sets global flags.
"""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from .errors import InputError

AXIS = "device"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # begins its files


@contextlib.contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """In "float32" or "float64"; numbers may blow up, which is the status' business."""
    wide = jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext()
    with wide, np.errstate(over="ignore", invalid="ignore"):
        yield


def device_count() -> int:
    """Number of devices of JAX's default backend; starts the backend."""
    return jax.device_count()


def mesh() -> Mesh:
    """All devices of the default backend along one axis, `AXIS`; starts the backend."""
    return Mesh(np.array(jax.devices()), (AXIS,))


def configure(*, devices: int | None = None, cache: Path | str | bool | None = None) -> None:
    """Set JAX's process-wide options; the command line does this, a program may.

    ``devices``: CPU devices of this process, one per core is a good number; only before JAX has
    started. ``cache``: folder for compiled programs (True: the user's cache folder, False: none).
    Raises `InputError` when JAX already runs with another number of devices.
    """
    if devices is not None:
        _set_devices(devices)
    if cache is not None:
        _set_cache(cache)


def _set_devices(devices: int) -> None:
    if isinstance(devices, bool) or not isinstance(devices, int) or devices < 1:
        raise InputError(
            "devices",
            expected="a number of CPU devices, at least 1",
            got=repr(devices),
            do="pass 1",
        )
    try:
        jax.config.update("jax_num_cpu_devices", devices)
    except RuntimeError as error:  # the backend runs; harmless where it already has that many
        running = len(jax.devices("cpu"))
        if running != devices:
            raise InputError(
                "devices",
                expected=f"{running}, with which JAX has already started",
                got=str(devices),
                do="call configure before the first array, or set JAX_NUM_CPU_DEVICES",
            ) from error


def _set_cache(cache: Path | str | bool) -> None:
    if cache is False:
        jax.config.update("jax_compilation_cache_dir", None)
        return
    folder = default_cache() if cache is True else Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cache folder {folder}",
            expected="a folder that can be made",
            got=str(error),
            do="pass another folder, or cache=False",
        ) from error
    _mend(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # The default of one second skips the small programs, of which there are many; with XLA's own
    # caches the folder's path would become part of the key.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def _mend(folder: Path) -> None:
    """Remove programs that a kill left half-written.

    JAX writes them in place, and warns of a broken one for ever without replacing it. Only files
    that are newer than the last look are read.
    """
    looked = folder / ".tenkai-looked"
    with contextlib.suppress(OSError):  # another process's file, or a folder that is read-only
        since = looked.stat().st_mtime if looked.exists() else 0.0
        for entry in folder.glob("*-cache"):
            if entry.stat().st_mtime >= since and not _is_whole(entry.read_bytes()):
                entry.unlink(missing_ok=True)
        looked.touch()


def _is_whole(program: bytes) -> bool:
    """Whether zlib can read it. Where JAX uses zstandard instead, it is taken for whole."""
    if program[:4] == _ZSTANDARD:
        return True
    try:
        zlib.decompress(program)
    except zlib.error:
        return False
    return True


def default_cache() -> Path:
    """The folder for compiled programs where this platform keeps caches."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "tenkai" / "xla"
