import numpy as np
import pytest

from resources import weights
from resources.artifacts import ArtifactStore
from tests.resources.tables import FITTED
from weft.errors import IntegrityError


def _tensors() -> dict[str, np.ndarray]:
    return {
        "items": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "scale": np.array(0.5),
        "none": np.zeros((0, 4), np.int64),
        "big_endian": np.array([1, 2], dtype=">i4"),
        "flags": np.array([True, False]),
    }


def test_arrays_come_back_equal_bit_for_bit_through_the_store(tmp_path) -> None:
    store = ArtifactStore(tmp_path)
    store.write("behaviour.sasrec", FITTED, weights.to_table(_tensors()))
    back = weights.from_table(store.read("behaviour.sasrec", FITTED))
    assert list(back) == list(_tensors())
    for name, tensor in _tensors().items():
        assert back[name].shape == tensor.shape
        assert back[name].dtype == tensor.dtype.newbyteorder("<")
        np.testing.assert_array_equal(back[name], tensor)
        assert back[name].flags.writeable


def test_a_large_array_is_cut_into_parts_and_a_missing_part_is_found(monkeypatch) -> None:
    monkeypatch.setattr(weights, "PART", 10)
    table = weights.to_table({"w": np.arange(6, dtype=np.int32)})
    assert [(row["part"], len(row["bytes"])) for row in table.to_dicts()] == [(0, 10), (1, 10), (2, 4)]
    assert weights.from_table(table.reverse())["w"].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(IntegrityError, match="tensor w has 20 bytes of 24"):
        weights.from_table(table[:2])


def test_python_objects_are_no_weights() -> None:
    with pytest.raises(TypeError, match="w holds Python objects"):
        weights.to_table({"w": np.array([{"a": 1}])})
