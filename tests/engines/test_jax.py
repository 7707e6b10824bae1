"""JAX's arrays of published data: one copy each, of the type that was published."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest

import famfs

PLAIN = ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32"]
LONG = ["int64", "uint64", "float64", "complex128"]
RARE = ["bfloat16", "float8_e4m3fn", "float8_e5m2"]


@pytest.mark.parametrize("dtype", [*PLAIN, "complex64"])
def test_every_type_that_both_have(mnt, inside, dtype):
    array = (np.arange(24) % 2).astype(dtype).reshape(2, 3, 4)
    found = famfs.open(famfs.publish(array, f"{mnt}/x")).to_jax()
    assert isinstance(found, jax.Array)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert not inside(mnt, found.unsafe_buffer_pointer(), found.nbytes)


@pytest.mark.parametrize("dtype", LONG)
def test_64_bits_are_never_lost_silently(mnt, inside, dtype):
    array = (np.arange(6) + (1 << 40)).astype(dtype)
    ds = famfs.open(famfs.publish(array, f"{mnt}/x"))
    with pytest.raises(famfs.Unsupported, match=r"lose digits.*jax_enable_x64"):
        ds.to_jax()
    with jax.enable_x64(True):  # noqa: FBT003 - its own signature
        found = ds.to_jax()
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)
        assert not inside(mnt, found.unsafe_buffer_pointer(), found.nbytes)
    assert ds.to_jax(dtype="float32" if dtype != "complex128" else "complex64")[0] == 2.0**40


def test_it_is_a_copy_whatever_is_done_to_it(mnt, inside):
    # As large and as well aligned as JAX would lay an array over.
    ds = famfs.open(famfs.publish(np.zeros(1 << 20, np.float32), f"{mnt}/x"))
    found = ds.to_jax()
    assert not inside(mnt, found.unsafe_buffer_pointer(), found.nbytes)
    added = jax.jit(lambda x: x + 1, donate_argnums=0)(found)
    assert added.sum() == 1 << 20
    assert ds.to_numpy().sum() == 0


def test_parts_columns_and_bytes(mnt):
    array = famfs.open(famfs.publish(np.arange(12, dtype="f4").reshape(3, 4), f"{mnt}/a"))
    columns = {
        "x": pa.array(range(5), pa.int32()),
        "v": pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32(), 2)),
    }
    table = famfs.open(famfs.publish(pa.table(columns), f"{mnt}/t"))
    for found, expected in (
        (array[1].to_jax(), [4, 5, 6, 7]),
        (array[1:2].to_jax(dtype="int32"), [[4, 5, 6, 7]]),
        (table["x"][2:].to_jax(), [2, 3, 4]),
        (table["v"][3:].to_jax(), [[1, 2]] * 2),
        (famfs.open(famfs.publish(b"abc", f"{mnt}/b")).to_jax(), [97, 98, 99]),
        (famfs.open(famfs.publish(b"", f"{mnt}/c")).to_jax(), []),
        (famfs.open(famfs.publish(np.array(5.5, "f4"), f"{mnt}/d")).to_jax(), 5.5),
    ):
        assert found.tolist() == expected
    fortran = np.asfortranarray(np.arange(6, dtype="i4").reshape(2, 3))
    assert np.array_equal(famfs.open(famfs.publish(fortran, f"{mnt}/f")).to_jax(), fortran)


@pytest.mark.parametrize("dtype", [*PLAIN, *RARE])
def test_weights(mnt, dtype):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    weights = {"w": np.ones((3, 4), kind), "b": np.ones(5, kind), "none": np.empty((0, 2), kind)}
    found = famfs.open(famfs.publish(weights, f"{mnt}/w")).to_jax()
    assert set(found) == set(weights)
    for name, array in weights.items():
        assert found[name].dtype == kind
        assert np.array_equal(found[name], array)
    as_floats = famfs.open(f"{mnt}/w").to_jax(dtype=jnp.float32)
    assert {array.dtype for array in as_floats.values()} == {np.dtype("f4")}


def test_weights_of_64_bits(mnt):
    ds = famfs.open(famfs.publish({"w": np.ones((2, 2)), "b": np.ones(3)}, f"{mnt}/w"))
    with pytest.raises(famfs.Unsupported, match="tensor '[wb]'.*lose digits"):
        ds.to_jax()
    assert ds.to_jax(dtype="float32")["b"].sum() == 3


@pytest.mark.parametrize(
    "thing",
    [
        np.arange(3).astype("M8[s]"),
        np.zeros(3, "S5"),
        np.zeros(3, [("a", "f4")]),
        np.arange(3).astype(">i4"),
    ],
    ids=["dates", "texts", "fields", "big-endian"],
)
def test_types_that_jax_has_not(mnt, thing):
    with pytest.raises(famfs.Unsupported, match="JAX has no array of.*to_numpy"):
        famfs.open(famfs.publish(thing, f"{mnt}/x")).to_jax()


def test_what_numpy_refuses(mnt):
    table = famfs.open(famfs.publish({"a": pa.array([1, None]), "b": np.ones(2)}, f"{mnt}/t"))
    for ds in (table, table["a"]):
        with pytest.raises(famfs.Unsupported):
            ds.to_jax()


def test_jax_is_missing(run, mnt):
    code = """
        import sys
        sys.modules["jax"] = None
        import famfs
        try:
            famfs.open(sys.argv[1]).to_jax()
        except famfs.Unsupported as error:
            print(error)
    """
    said = run(code, famfs.publish(np.arange(3), f"{mnt}/x")).stdout
    assert "pip install 'famfs[jax]'" in said
