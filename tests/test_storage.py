"""Files come back as they were or are refused with one clear error."""

from __future__ import annotations

import hashlib
import json
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as raw_save

from tenkai import storage
from tenkai.errors import InputError
from tenkai.fields import MLP

ARRAYS = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "scalar": np.array(2.5),
    "counts": np.array([1, 2], np.int32),
    "empty": np.zeros((0, 3)),
    "mask": np.array([True, False]),
}


def test_what_is_saved_comes_back(tmp_path):
    path = tmp_path / "a.safetensors"
    storage.save(path, ARRAYS, {"names": ["兎", 'quo"te', '"sha256":"'], "x": 0.1})
    arrays, meta = storage.load(path)
    assert meta == {"format": 1, "names": ["兎", 'quo"te', '"sha256":"'], "x": 0.1}
    assert set(arrays) == set(ARRAYS)
    for name, x in ARRAYS.items():
        assert arrays[name].dtype == x.dtype
        assert arrays[name].shape == x.shape
        np.testing.assert_array_equal(arrays[name], x)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_strided_arrays_and_bfloat16(tmp_path):
    path = tmp_path / "a.safetensors"
    half = np.asarray(jnp.linspace(0, 1, 6, dtype=jnp.bfloat16))
    strided = np.arange(12.0).reshape(3, 4)[::2, ::-1]
    storage.save(path, {"half": half, "strided": strided, "turned": ARRAYS["w"].T}, {})
    arrays, _ = storage.load(path)
    assert arrays["half"].dtype == half.dtype
    np.testing.assert_array_equal(arrays["half"], half)
    np.testing.assert_array_equal(arrays["strided"], strided)
    np.testing.assert_array_equal(arrays["turned"], ARRAYS["w"].T)


def test_any_safetensors_reader_opens_it_and_can_check_it(tmp_path):
    path = tmp_path / "a.safetensors"
    storage.save(path, ARRAYS, {"class": "X"})
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        np.testing.assert_array_equal(file.get_tensor("w"), ARRAYS["w"])
    assert json.loads(metadata["tenkai"])["format"] == 1
    checksum = metadata["sha256"].encode()
    data = path.read_bytes()
    assert data.count(checksum) == 1
    assert hashlib.sha256(data.replace(checksum, b"0" * 64)).hexdigest().encode() == checksum


def corrupt(data: bytes, rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    at = rng.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return rng.randbytes(rng.choice([0, 1, 8, 100, len(data)]))
    if kind == 2:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 3:
        return data + rng.randbytes(rng.randrange(1, 20))
    return data[:at] + rng.randbytes(7) + data[at + 7 :]


def test_two_hundred_corruptions_are_two_hundred_clear_errors(tmp_path):
    path = tmp_path / "model.safetensors"
    storage.save(path, ARRAYS, {"class": "NeuralODE", "names": ["a"]})
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        path.write_bytes(corrupt(data, rng))
        with pytest.raises(InputError) as caught:
            storage.load(path)
        assert caught.value.expected == "a file saved by tenkai"
        assert "\n" not in str(caught.value)


def test_every_single_flipped_byte_is_found(tmp_path):
    path = tmp_path / "model.safetensors"
    storage.save(path, {"w": np.ones(3)}, {})
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        with pytest.raises(InputError):
            storage.load(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "did not write"),
        ({"pt": "yes"}, "did not write"),
        ({"tenkai": "[1]"}, "did not write"),
        ({"tenkai": '{"format": 1}'}, "checksum"),
        ({"tenkai": '{"format": 7}'}, "newer tenkai"),
    ],
)
def test_files_of_others_are_refused(tmp_path, metadata, words):
    path = tmp_path / "other.safetensors"
    path.write_bytes(raw_save({"w": np.ones(3)}, metadata))
    with pytest.raises(InputError, match=words):
        storage.load(path)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="Check the path"):
            storage.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    storage.save(path, {"w": np.ones(3)}, {})

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        storage.save(path, {"w": np.zeros(3)}, {})
    np.testing.assert_array_equal(storage.load(path)[0]["w"], np.ones(3))
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_trees_come_back(tmp_path):
    tree = {"net": MLP((1, 3, 2), key=jax.random.key(0)), "key": jax.random.key(7), "name": "x"}
    arrays = storage.flatten(tree)
    assert set(arrays) >= {"net.layers.0.weight", "net.layers.1.bias", "key"}
    template = {"net": MLP((1, 3, 2), key=jax.random.key(1)), "key": jax.random.key(0), "name": "y"}
    back = storage.unflatten(template, arrays)
    assert back["name"] == "y"
    assert bool(back["key"] == tree["key"])
    np.testing.assert_array_equal(back["net"].layers[0].weight, tree["net"].layers[0].weight)
    shapes = jax.eval_shape(lambda: (jnp.zeros(2), jax.random.key(0)))
    values = (jnp.ones(2), jax.random.key(3))
    back = storage.unflatten(shapes, storage.flatten(values))
    assert bool(back[1] == values[1])


def test_trees_that_do_not_fit_are_refused():
    arrays = storage.flatten(MLP((1, 3, 2), key=jax.random.key(0)))
    with pytest.raises(InputError, match=r"layers\.0\.weight of shape \(4, 1\); got \(3, 1\)"):
        storage.unflatten(MLP((1, 4, 2), key=jax.random.key(0)), arrays)
    with pytest.raises(InputError, match=r"differing in 'layers\.2"):
        storage.unflatten(MLP((1, 3, 2, 2), key=jax.random.key(0)), arrays)
    with pytest.raises(ValueError, match="two arrays have the path"):
        storage.flatten({"a.b": np.ones(1), "a": {"b": np.ones(1)}})


def test_model_files(tmp_path):
    path = tmp_path / "m.safetensors"
    model = MLP((1, 3, 2), key=jax.random.key(0))
    storage.save_model(path, model, class_name="X", arguments={"width": 3}, names=("a",), note="n")
    arrays, meta = storage.load_model(path)
    assert (meta["class"], meta["arguments"], meta["names"]) == ("X", {"width": 3}, ["a"])
    assert meta["scaling"] is None
    assert meta["note"] == "n"
    np.testing.assert_array_equal(arrays["layers.0.weight"], model.layers[0].weight)
    storage.save(path, {}, {"kind": "checkpoint"})
    with pytest.raises(InputError, match="a checkpoint without a model"):
        storage.load_model(path)
