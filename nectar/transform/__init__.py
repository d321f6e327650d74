"""Steps of a user's own, between extraction and scrubbing: the functions that a bee names under `transform`.

    transform:
      - my_company.customers:tidy
      - {use: "my_company.customers:in_region", options: {region: EU}, timeout: 30}

A function takes a table; marked with `records` it takes one record:

    import pyarrow as pa
    from nectar.transform import records

    def tidy(table: pa.Table) -> pa.Table: ...

    @records
    def in_region(record: dict[str, Any], region: str) -> dict[str, Any] | None:
        return record if record["region"] == region else None

What holds
  * Whatever a step gives is scrubbed after it: none can bring personal data past the scrubber.
  * A record keeps its key; other fields may change, come and go. Names that start with "_" are the hive's own.
  * Text in a table may be marked: a number in its own digits, or JSON (see `nectar.batch`); a record has it as a value.
  * One record gives one record, or none. A record that is left out (a missing row, None) is dropped: the jar does not
    hold it, and if it did, it is deleted there. It counts as deleted.
  * A function sees each record as the source gives it, among any others or alone, and may see it twice: it gives the
    same each time. An unchanged record is not transformed again.
  * A record for which the function raises goes to quarantine as `transform_failed`, alone. The reason names the
    function and the class of the error, never a value.
  * `timeout`: seconds for one batch, 60 if unset. A record on which a function hangs goes to quarantine, too.
  * Another list of steps, other options or another text of a function's module: everything is read and written anew.
    Workers load a module once: start them again after a change. All of them need it, those that collect as well.
"""

from nectar.transform.apply import Transform, Transformed
from nectar.transform.steps import BadTransform, check_step, records, version_of

__all__ = ["BadTransform", "Transform", "Transformed", "check_step", "records", "version_of"]
