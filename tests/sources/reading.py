"""Ways to write and to read rows, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from csrkit.sources import Source

STREAM = 0  # a memory budget that nothing fits


def everything(source: Source) -> np.ndarray:
    return source.rows(0, source.n)


def write_arrow(table: object, path: Path, form: str) -> None:
    from pyarrow import feather, ipc, parquet

    if form == "parquet":
        parquet.write_table(table, path, row_group_size=50)
    elif form == "feather":
        feather.write_feather(table, path, chunksize=64)
    else:
        writer = ipc.new_stream if form == "stream" else ipc.new_file
        with writer(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=40)
