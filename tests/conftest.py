"""Compiled programs are kept between runs and shared by all workers and subprocesses."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _cache() -> Path:
    """A folder of this user's: TENKAI_TEST_CACHE, else where caches lie, else a temporary one."""
    if chosen := os.environ.get("TENKAI_TEST_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "tenkai" / "tests"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.gettempdir()) / f"tenkai-tests-{getattr(os, 'getuid', int)()}"


# Through the environment, before JAX is imported, so that subprocesses have them too; what the
# caller has set stands. The defaults skip programs that compile in less than a second, of which
# there are many, and make the folder's path part of the key.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")


_MOST_MAPS = 20_000  # Linux allows a process 65 530, and XLA aborts where it gets no more


@pytest.fixture(autouse=True)
def _few_programs() -> Iterator[None]:
    """Every compiled program holds memory maps: too many tests in one process would run out."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        import equinox
        import jax

        jax.clear_caches()
        equinox.clear_caches()


def pytest_configure(config: pytest.Config) -> None:
    """JAX does not write its cache atomically: a half-written program is compiled again."""
    config.addinivalue_line(
        "filterwarnings", "ignore:Error (reading|writing) persistent compilation cache:UserWarning"
    )
