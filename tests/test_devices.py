"""`configure` sets devices and the cache of compiled programs, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import pytest

import tenkai as tk
from tenkai.devices import AXIS, default_cache, device_count, mesh
from tenkai.errors import InputError


def run(code, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_the_mesh_holds_all_devices():
    assert mesh().shape == {AXIS: jax.device_count()}
    assert device_count() == jax.device_count()


def test_the_number_of_devices():
    code = "import tenkai as tk, jax; tk.configure(devices=3); print(jax.device_count())"
    assert run(code) == "3"


def test_the_number_of_devices_cannot_change_later():
    tk.configure(devices=len(jax.devices("cpu")))  # the same number is no change
    with pytest.raises(InputError, match="Call configure before the first array"):
        tk.configure(devices=len(jax.devices("cpu")) + 1)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(InputError, match="at least 1"):
            tk.configure(devices=wrong)  # type: ignore[arg-type]


CACHED = """
import sys, tenkai as tk, jax
tk.configure(cache=sys.argv[1])
hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: hits.append(event) if event == "/jax/compilation_cache/cache_hits" else None
)
assert jax.jit(lambda x: x * 3 + 1)(2.0) == 7.0
print(len(hits))
"""


def test_a_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "deep" / "cache"
    assert run(CACHED, folder) == "0"
    assert int(run(CACHED, folder)) > 0


def test_a_damaged_cache_is_mended(tmp_path):
    run(CACHED, tmp_path)
    for path in tmp_path.glob("*-cache"):
        path.write_bytes(path.read_bytes()[:20])
    assert run(CACHED, tmp_path) == "0"
    assert int(run(CACHED, tmp_path)) > 0


def test_the_cache_can_be_off_and_its_folder_must_be_one(tmp_path, monkeypatch):
    code = (
        "import tenkai as tk, jax; tk.configure(cache=True); "
        "a = jax.config.jax_compilation_cache_dir; tk.configure(cache=False); "
        "print(a, jax.config.jax_compilation_cache_dir)"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert run(code) == f"{default_cache()} None"
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="a folder that can be made"):
        tk.configure(cache=file)
