"""A Parquet file of conversations whose column `messages` is a list of structs, compressed by zstd."""

import pyarrow as pa
import pyarrow.parquet as pq

from common import TESTDATA


def message(role, content):
    return {"role": role, "content": content}


rows = [
    [message("user", "2+3?"), message("assistant", "5")],
    [message("system", "s"), message("user", "q"), message("assistant", "a")],
]
(TESTDATA / "sft").mkdir(exist_ok=True)
pq.write_table(pa.table({"messages": rows}), TESTDATA / "sft" / "messages.parquet", compression="zstd", row_group_size=1)
