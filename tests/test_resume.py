"""An interrupted or killed fit goes on with the same bits, from its folder or not at all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib import import_module

import jax
import numpy as np
import optax
import pytest

import tenkai as tk
from tenkai.errors import InputError
from tenkai.fields import MLP
from tenkai.fit import Interrupted
from tenkai.fit.trainer import Trainer
from tenkai.objectives import Aux

X = np.linspace(-1, 1.5, 32, dtype=np.float32)[:, None]
Y = np.sin(3 * X)
ADAM, SGD = optax.adam(1e-2), optax.sgd(0.1)


def noisy(model, batch, key):
    x, y = batch
    return jax.numpy.mean((jax.vmap(model)(x) - y + jax.random.normal(key)) ** 2), Aux()


def fit(**changed):
    options = {
        "rule": ADAM, "steps": 60, "every": 10, "batch": 8, "key": jax.random.key(3),
        "validation": (X, Y), "snapshot_every": 2,
    }  # fmt: skip
    data = changed.pop("data", (X, Y))
    model = changed.pop("model", MLP((1, 4, 1), key=jax.random.key(0)))
    return tk.fit(model, noisy, data, **options | changed)


def bits(fitted):
    """Everything of a result but the time it took."""
    entries = [{k: v for k, v in h.items() if k != "seconds"} for h in fitted.history]
    arrays = [np.asarray(x).tobytes() for x in jax.tree.leaves(fitted.model)]
    shots = [
        (i, [np.asarray(x).tobytes() for x in jax.tree.leaves(m)]) for i, m in fitted.snapshots
    ]
    return json.dumps(entries), arrays, shots, fitted.status, fitted.steps


class Power(Exception):
    """The power fails."""


def interrupt_at(monkeypatch, step, error):
    """`error` comes before that step; there is a look at the clock after every step."""
    original = Trainer.advance

    def advance(self, carry, at, n):
        if at >= step:
            raise error
        return original(self, carry, at, n)

    monkeypatch.setattr(Trainer, "advance", advance)
    monkeypatch.setattr(import_module("tenkai.fit.loop"), "_SYNC_SECONDS", 0.0)


@pytest.mark.parametrize("step", [0, 9, 30, 47])
def test_ctrl_c_saves_and_resumes_with_the_same_bits(monkeypatch, tmp_path, step):
    folder, log = tmp_path / "checkpoints", tmp_path / "history.jsonl"
    with monkeypatch.context() as patched:
        interrupt_at(patched, step, KeyboardInterrupt())
        with pytest.raises(Interrupted, match=f"interrupted at step {step} of 60; saved"):
            fit(checkpoint=folder, log=log)
    resumed = fit(checkpoint=folder, log=log)
    assert bits(resumed) == bits(fit())
    assert [json.loads(line) for line in log.read_text().splitlines()] == resumed.history
    seconds = [h["seconds"] for h in resumed.history]
    assert seconds == sorted(seconds)


def test_ctrl_c_without_a_folder_returns_what_there_is(monkeypatch):
    interrupt_at(monkeypatch, 30, KeyboardInterrupt())
    fitted = fit()
    assert (fitted.status.kind, fitted.status.ok) == ("interrupted", False)
    assert fitted.steps == 30
    assert "checkpoint" in fitted.status.remedy


def test_a_crash_resumes_from_the_last_checkpoint_and_cuts_the_log(monkeypatch, tmp_path):
    folder, log = tmp_path / "checkpoints", tmp_path / "history.jsonl"
    log.write_text('{"stage": "earlier"}\n')
    with monkeypatch.context() as patched:
        interrupt_at(patched, 40, Power())
        with pytest.raises(Power):
            fit(checkpoint=folder, log=log)
    # Only step 0 was written: checkpoints are two seconds apart.
    assert [p.name for p in folder.iterdir()] == ["step-000000000.safetensors"]
    assert len(log.read_text().splitlines()) > 1
    resumed = fit(checkpoint=folder, log=log)
    assert bits(resumed) == bits(fit())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == [{"stage": "earlier"}, *resumed.history]


def test_a_finished_fit_returns_its_result_and_keeps_a_few_files(monkeypatch, tmp_path):
    monkeypatch.setattr(import_module("tenkai.fit.checkpoints"), "_SECONDS", 0.0)
    monkeypatch.setattr(import_module("tenkai.fit.checkpoints"), "_SHARE", 0)
    first = fit(checkpoint=tmp_path, keep=2)
    assert len(list(tmp_path.iterdir())) == 2
    interrupt_at(monkeypatch, 0, Power())
    assert bits(fit(checkpoint=tmp_path)) == bits(first)


def test_members_resume_with_rollbacks_and_the_dead(monkeypatch, tmp_path):
    def trap(model, wall, key):
        value = jax.numpy.sum((model - 1) ** 2)
        return jax.numpy.where(jax.numpy.all(model < wall), value, jax.numpy.nan), Aux()

    def run(**options):
        start, walls = np.zeros((3, 1), np.float32), np.array([[2.0], [1e-6], [0.5]], np.float32)
        return tk.fit(start, trap, walls, rule=SGD, steps=60, every=10, members=3, **options)

    whole = run()
    assert "replaced" in "".join(h["event"] or "" for h in whole.history)
    for step in (10, 25, 50):
        with monkeypatch.context() as patched:
            interrupt_at(patched, step, KeyboardInterrupt())
            with pytest.raises(Interrupted):
                run(checkpoint=tmp_path / str(step))
        resumed = run(checkpoint=tmp_path / str(step))
        assert bits(resumed) == bits(whole)
        np.testing.assert_array_equal(resumed.members, whole.members)


def test_batches_by_step_and_by_generator_resume(monkeypatch, tmp_path):
    def at(step):
        rows = np.random.default_rng(step).integers(0, 32, 8)
        return X[rows], Y[rows]

    def generate():
        yield from map(at, range(1000))

    for i, source in enumerate((at, generate)):
        with monkeypatch.context() as patched:
            interrupt_at(patched, 33, KeyboardInterrupt())
            with pytest.raises(Interrupted):
                fit(data=source, batch=None, checkpoint=tmp_path / str(i))
        resumed = fit(data=source, batch=None, checkpoint=tmp_path / str(i))
        assert bits(resumed) == bits(fit(data=source, batch=None))


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    fit(checkpoint=tmp_path)
    changes = {
        "steps": {"steps": 70},
        "every": {"every": 20},
        "batch": {"batch": 4},
        "key": {"key": jax.random.key(4)},
        "rule": {"rule": optax.chain(optax.clip(1.0), ADAM)},
        "data": {"data": (X, Y + 1)},
        "validation": {"validation": (X, Y + 1)},
        "initial values": {"model": MLP((1, 4, 1), key=jax.random.key(1))},
        "shapes": {"model": MLP((1, 5, 1), key=jax.random.key(0))},
    }
    for name, changed in changes.items():
        with pytest.raises(InputError, match=f"expected {name} as when they were written"):
            fit(checkpoint=tmp_path, **changed)


def test_a_damaged_checkpoint_gives_way_to_an_older_one(tmp_path):
    whole = fit(checkpoint=tmp_path)
    oldest, newest = sorted(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-20])
    assert bits(fit(checkpoint=tmp_path)) == bits(whole)
    for path in tmp_path.iterdir():
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="a file saved by tenkai"):
        fit(checkpoint=tmp_path)
    assert oldest.exists()


KILLED = """
import hashlib, json, sys, time
import jax, numpy as np, optax
import tenkai as tk
from tenkai.fields import MLP
from tenkai.objectives import Aux
import tenkai.fit.checkpoints, tenkai.fit.loop

sys.modules["tenkai.fit.checkpoints"]._SECONDS = 0.0
sys.modules["tenkai.fit.checkpoints"]._SHARE = 0
folder = sys.argv[1]
x = np.linspace(-1, 1.5, 32, dtype=np.float32)[:, None]
y = np.sin(3 * x)

def noisy(model, batch, key):
    x, y = batch
    return jax.numpy.mean((jax.vmap(model)(x) - y + jax.random.normal(key)) ** 2), Aux()

print("ready", flush=True)
fitted = tk.fit(MLP((1, 4, 1), key=jax.random.key(0)), noisy, (x, y), rule=optax.adam(1e-2),
                steps=STEPS, every=5, batch=8, validation=(x, y),
                checkpoint=folder + "/checkpoints", log=folder + "/history.jsonl")
entries = [{k: v for k, v in h.items() if k != "seconds"} for h in fitted.history]
with open(folder + "/history.jsonl") as file:
    assert [json.loads(line) for line in file] == fitted.history
sha = hashlib.sha256(json.dumps(entries).encode())
for leaf in jax.tree.leaves(fitted.model):
    sha.update(np.asarray(leaf).tobytes())
print(sha.hexdigest())
"""


def kill_and_resume(tmp_path, kills, steps):
    code = KILLED.replace("STEPS", str(steps))

    def start(folder):
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(folder)],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
        )  # fmt: skip

    with start(tmp_path / "whole") as process:
        assert process.stdout is not None
        process.stdout.readline()
        begun = time.monotonic()
        whole = process.stdout.read().strip()
        length = time.monotonic() - begun
    rng, killed, reached = random.Random(0), 0, []
    folder = tmp_path / "killed"
    while killed < kills:
        with start(folder) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.2, 0.9) * length)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            else:  # it was faster than the hand that kills: again from the start
                assert process.stdout.read().strip() == whole
                for path in (*folder.glob("checkpoints/*"), folder / "history.jsonl"):
                    path.unlink()
        names = sorted(p.name for p in folder.glob("checkpoints/step-*"))
        reached.append(int(names[-1][5:14]) if names else 0)
    with start(folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdout.read().strip() == whole
    assert process.returncode == 0
    return reached


def test_killed_three_times_it_ends_with_the_same_bits(tmp_path):
    kill_and_resume(tmp_path, kills=3, steps=1500)


@pytest.mark.slow
def test_killed_twenty_times_it_ends_with_the_same_bits(tmp_path):
    reached = kill_and_resume(tmp_path, kills=20, steps=3000)
    assert len(set(reached)) > 10
