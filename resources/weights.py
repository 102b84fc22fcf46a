"""Weights as a table: named arrays, in parts that Parquet takes, without pickle.

``select tensor, shape from behaviour.sasrec`` works in SQL.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from weft.errors import IntegrityError
from weft.schemas import Weights

PART = 64_000_000
"""Most bytes of one row."""


def to_table(tensors: Mapping[str, NDArray[np.generic]]) -> pl.DataFrame:
    """The arrays as a table (schema ``Weights``), little-endian in C order, in the order given.

    Raises:
        TypeError: If an array holds Python objects.
    """
    rows = []
    for name, tensor in tensors.items():
        if tensor.dtype.hasobject:
            raise TypeError(f"{name} holds Python objects, not numbers")
        array = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        data = array.reshape(-1).view(np.uint8)
        for part, start in enumerate(range(0, max(len(data), 1), PART)):
            rows.append((name, part, array.dtype.name, list(tensor.shape), data[start : start + PART].tobytes()))
    return pl.DataFrame(rows, schema=pl.Schema(Weights), orient="row")


def from_table(frame: pl.DataFrame) -> dict[str, NDArray[np.generic]]:
    """The arrays of a table made by ``to_table``.

    Raises:
        IntegrityError: If parts are missing.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    for (name,), parts in frame.group_by("tensor", maintain_order=True):
        ordered = parts.sort("part")
        dtype = np.dtype(ordered["dtype"][0]).newbyteorder("<")
        shape = tuple(ordered["shape"][0])
        data = b"".join(ordered["bytes"])
        wanted = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if len(data) != wanted:
            raise IntegrityError(f"tensor {name} has {len(data):,} bytes of {wanted:,}", "make the weights again")
        tensors[str(name)] = np.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
    return tensors
