"""dlt, as its documentation has it: one table, a backend (pyarrow is its fastest), workers as it likes.

Run in a process of its own: SOURCE_URL DSN PASSWORD FOLDER DATASET BACKEND. The last line is the seconds it took.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import quote


def main(source: str, dsn: str, password: str, folder: str, dataset: str, backend: str) -> None:
    os.environ["DLT_DATA_DIR"] = folder
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    from dlt.sources.sql_database import sql_table

    parts = dict(part.split("=", 1) for part in dsn.split() if "=" in part)
    user = quote(parts.get("user", ""))
    target = f"postgresql://{user}:{quote(password)}@{parts['host']}:{parts['port']}/{parts['dbname']}"
    began = time.perf_counter()
    address = source.replace("postgresql://", "postgresql+psycopg://")
    table = sql_table(address, table="customers", backend=backend, chunk_size=50_000)
    destination = dlt.destinations.postgres(target)
    pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=destination, dataset_name=dataset)
    pipeline.run(table, write_disposition="replace", loader_file_format="csv")
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
