"""pandas and polars frames: the same columns, index and order back, all without what must not pass.

A type changes only where a value no longer fits it. Labels that tell of a person change as a table's columns do, and
what the owner noted about a frame (`attrs`) goes where it holds a finding. Neither library is imported here: a frame
in hand has brought its own.
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
        if isinstance(series.dtype, polars.Enum):
            new[series.name] = _scrub_enum(cells, series)
            continue
        tally = Tally()
        array = series.to_arrow()
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        changed = Columns(cells, tally).scrub(array, series.name, None, None, np.arange(len(array)))
        refuse(tally)
        if changed is not array:
            new[series.name] = polars.from_arrow(changed).alias(series.name)
    scrubbed = frame.with_columns(**new)
    names = cells.column_names(frame.columns)
    return scrubbed if names == frame.columns else scrubbed.rename(dict(zip(frame.columns, names, strict=True)))


def _scrub_enum(cells: Cells, series: Any) -> Any:
    """An Enum of the categories that stand for its own, in their order."""
    polars = sys.modules["polars"]
    own = series.dtype.categories.to_list()
    copies = scrubbed_copies(cells, own, series.name)
    if not any(copy.counts for copy in copies):
        return series
    new = {old: copy.value for old, copy in zip(own, copies, strict=True)}
    categories = list(dict.fromkeys(value for value in new.values() if value is not None))
    values = [None if value is None else new[value] for value in series.to_list()]
    return polars.Series(series.name, values, dtype=polars.Enum(categories))


def scrub_pandas(cells: Cells, frame: Any) -> Any:
    """A copy of a pandas frame. An index of texts is scrubbed as a column would be."""
    pandas = sys.modules["pandas"]
    columns = [scrub_pandas_column(cells, frame.iloc[:, i], _name(label)) for i, label in enumerate(frame.columns)]
    index = _index(cells, frame.index)
    labels = _labels(cells, frame.columns)
    if not columns:
        return _with_attrs(cells, frame.set_axis(index).set_axis(labels, axis=1), frame)
    parts = [column.set_axis(index) for column in columns]
    return _with_attrs(cells, pandas.concat(parts, axis=1).set_axis(labels, axis=1), frame)


def scrub_pandas_series(cells: Cells, series: Any) -> Any:
    """A copy of a pandas series with its index and its name."""
    scrubbed = scrub_pandas_column(cells, series, "" if series.name is None else _name(series.name))
    scrubbed = scrubbed.set_axis(_index(cells, series.index)).rename(_label(cells, series.name))
    return _with_attrs(cells, scrubbed, series)


def scrub_pandas_column(cells: Cells, series: Any, name: str) -> Any:
    """The values of a pandas series, scrubbed; its type changes only where a value no longer fits."""
    if isinstance(series.dtype, sys.modules["pandas"].CategoricalDtype):
        return _scrub_categories(cells, series, name)
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
        return pandas.Series(copies, index=series.index, name=series.name, dtype=series.dtype)
    whole = pandas.api.types.is_integer_dtype(series.dtype)
    if whole and all(copies[i] is None for i in changed):
        return pandas.Series(copies, index=series.index, name=series.name, dtype="Int64")
    plain = series.astype(object).to_numpy(copy=True)
    for i in changed:
        plain[i] = copies[i]
    return pandas.Series(plain, index=series.index, name=series.name, dtype=object)


def _scrub_categories(cells: Cells, series: Any, name: str) -> Any:
    """Categories scrubbed, those that no value has too; their order stays, and those that became one are one."""
    pandas = sys.modules["pandas"]
    own = series.cat.categories.to_list()
    copies = scrubbed_copies(cells, own, name)
    if not any(copy.counts for copy in copies):
        return series.copy()
    new = [copy.value for copy in copies]
    categories = list(dict.fromkeys(value for value in new if value is not None))
    place = {value: i for i, value in enumerate(categories)}
    places = np.array([*(place.get(value, -1) for value in new), -1])  # the last one is for what is missing
    values = pandas.Categorical.from_codes(places[series.cat.codes], categories, ordered=series.cat.ordered)
    return pandas.Series(values, index=series.index, name=series.name)


def _with_attrs(cells: Cells, new: Any, old: Any) -> Any:
    """What the frame's owner noted about it, of any values; a note that holds a finding or cannot be read goes."""
    notes = scrub_trees(cells, [{key: value} for key, value in old.attrs.items()])
    kept = zip(old.attrs.items(), notes, strict=True)
    new.attrs = {key: value for (key, value), note in kept if not note.counts and not note.failed}
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
    told = f"{code}{by and f' ({by})'}"
    if code == "unsupported_type":
        told += (
            "; process takes text, numbers, dates, bytes, dicts, lists, tuples, sets, dataclasses, paths, IP addresses,"
            " pandas and polars frames and series, numpy arrays, and Arrow tables, batches and arrays without unions"
        )
    return SkipRecord(f"a value could not be scrubbed: {told}", code=str(code))


def _index(cells: Cells, index: Any) -> Any:
    pandas = sys.modules["pandas"]
    names = [_label(cells, name) for name in index.names]
    if isinstance(index, pandas.MultiIndex):
        levels = [_values(cells, index.get_level_values(i)) for i in range(index.nlevels)]
        if all(new is None for new in levels):
            return index.remove_unused_levels().set_names(names)
        arrays = [index.get_level_values(i) if new is None else new for i, new in enumerate(levels)]
        return pandas.MultiIndex.from_arrays(arrays, names=names)
    new = _values(cells, index)
    if new is not None:
        return new.set_names(names)
    return index if names == list(index.names) else index.set_names(names)


def _values(cells: Cells, index: Any) -> Any:
    """An index of scrubbed values; None where all stay."""
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex | pandas.DatetimeIndex):
        return None
    name = "" if index.name is None else _name(index.name)
    if isinstance(index, pandas.CategoricalIndex):
        own = index.to_series(index=range(len(index)))
        new = _scrub_categories(cells, own, name)
        return None if new.equals(own) and new.dtype == own.dtype else pandas.CategoricalIndex(new)
    copies = scrubbed_copies(cells, index.to_list(), name)
    if not any(copy.counts for copy in copies):
        return None
    return pandas.Index([copy.value for copy in copies], dtype=object)


def _labels(cells: Cells, labels: Any) -> Any:
    """The labels of columns and their names; a text that tells of a person becomes as a table's column does."""
    pandas = sys.modules["pandas"]
    texts = [part for label in labels for part in (label if isinstance(label, tuple) else (label,))]
    texts = list(dict.fromkeys(part for part in texts if isinstance(part, str)))
    new = dict(zip(texts, cells.column_names(texts), strict=True))
    names = [_label(cells, name) for name in labels.names]
    if all(old == text for old, text in new.items()):
        return labels if names == list(labels.names) else labels.set_names(names)
    if isinstance(labels, pandas.MultiIndex):
        return pandas.MultiIndex.from_tuples([tuple(new.get(p, p) for p in label) for label in labels], names=names)
    return pandas.Index([new.get(label, label) for label in labels], name=names[0], tupleize_cols=False)


def _label(cells: Cells, label: Any) -> Any:
    return cells.column_names([label])[0] if isinstance(label, str) else label


def _name(label: object) -> str:
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
