"""pandas and polars frames: the same columns, index and order back.

Neither library is imported here: a frame in hand has brought its own.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pyarrow as pa

from nectar.errors import SkipRecord
from nectar.scrub.shapes.cells import Cells
from nectar.scrub.shapes.columns import Columns, Tally
from nectar.scrub.shapes.tree import Copy, scrub_trees


def is_pandas(data: object, name: str) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, getattr(pandas, name))


def is_polars(data: object, name: str) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(data, getattr(polars, name))


def scrub_polars(cells: Cells, frame: Any) -> Any:
    """A copy of a polars frame; columns without findings are the frame's own."""
    polars = sys.modules["polars"]
    new = {}
    for series in frame.get_columns():
        if series.dtype == polars.Object:
            copies = scrubbed_copies(cells, series.to_list(), series.name)
            new[series.name] = polars.Series(series.name, [copy.value for copy in copies], dtype=polars.Object)
            continue
        tally = Tally()
        array = series.to_arrow()
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        changed = Columns(cells, tally).scrub(array, series.name, None, None, np.arange(len(array)))
        refuse(tally)
        if changed is not array:
            new[series.name] = polars.from_arrow(changed).alias(series.name)
    return frame.with_columns(**new)


def scrub_pandas(cells: Cells, frame: Any) -> Any:
    """A copy of a pandas frame. An index of texts is scrubbed as a column would be."""
    pandas = sys.modules["pandas"]
    columns = [scrub_pandas_column(cells, frame.iloc[:, i], _name(label)) for i, label in enumerate(frame.columns)]
    index = _index(cells, frame.index)
    if not columns:
        return frame.set_axis(index) if index is not frame.index else frame.copy()
    parts = [column.set_axis(index) for column in columns]
    return _with_attrs(pandas.concat(parts, axis=1).set_axis(frame.columns, axis=1), frame)


def scrub_pandas_column(cells: Cells, series: Any, name: str) -> Any:
    """A copy of a pandas series; its type changes only where a value no longer fits."""
    missing = series.isna().to_numpy()
    values = [None if gone else value for value, gone in zip(series.tolist(), missing.tolist(), strict=True)]
    scrubbed = scrubbed_copies(cells, values, name)
    changed = [i for i, copy in enumerate(scrubbed) if copy.counts]
    if not changed:
        return series.copy()
    copies = [copy.value for copy in scrubbed]
    pandas = sys.modules["pandas"]
    texts = all(copies[i] is None or isinstance(copies[i], str) for i in changed)
    if pandas.api.types.is_string_dtype(series.dtype) and series.dtype != object and texts:
        return _with_attrs(pandas.Series(copies, index=series.index, name=series.name, dtype=series.dtype), series)
    whole = pandas.api.types.is_integer_dtype(series.dtype)
    if whole and all(copies[i] is None for i in changed):
        return _with_attrs(pandas.Series(copies, index=series.index, name=series.name, dtype="Int64"), series)
    plain = series.astype(object).to_numpy(copy=True)
    for i in changed:
        plain[i] = copies[i]
    is_category = isinstance(series.dtype, pandas.CategoricalDtype)
    kind = "category" if is_category else object
    return _with_attrs(pandas.Series(plain, index=series.index, name=series.name, dtype=kind), series)


def _with_attrs(new: Any, old: Any) -> Any:
    """What the frame's owner noted about it; `attrs` is a dict of the owner's, of any values."""
    new.attrs = dict(old.attrs)
    return new


def scrubbed_copies(cells: Cells, values: list[Any], name: str) -> list[Copy]:
    """Plain values of one field, scrubbed. Raises SkipRecord when one of them could not be."""
    copies = scrub_trees(cells, values, name)
    for copy in copies:
        if copy.failed:
            raise _refusal(copy.failed)
    return copies


def refuse(tally: Tally) -> None:
    """Raise SkipRecord for the first failure, if any: without rows to set aside, nothing may pass."""
    if tally.failed:
        raise _refusal(next(iter(tally.failed.values())))


def _refusal(code: str) -> SkipRecord:
    by = getattr(code, "rule", "")
    return SkipRecord(f"a value could not be scrubbed: {code}{by and f' ({by})'}", code=str(code))


def _index(cells: Cells, index: Any) -> Any:
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.MultiIndex):
        levels = [_index(cells, index.get_level_values(i)) for i in range(index.nlevels)]
        same = all(new.equals(index.get_level_values(i)) for i, new in enumerate(levels))
        return index if same else pandas.MultiIndex.from_arrays(levels, names=index.names)
    if isinstance(index, pandas.RangeIndex | pandas.DatetimeIndex):
        return index
    values = index.to_list()
    copies = scrubbed_copies(cells, values, "" if index.name is None else _name(index.name))
    if not any(copy.counts for copy in copies):
        return index
    return pandas.Index([copy.value for copy in copies], name=index.name, dtype=object)


def _name(label: object) -> str:
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
