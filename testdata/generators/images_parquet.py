"""testdata/images/{hf,bytes}.parquet: the images of images.py as the `datasets` library and as pandas write them.

    pip install pyarrow==26.0.1
    python testdata/generators/images_parquet.py
"""

import json

import pyarrow as pa
import pyarrow.parquet as pq

from common import TESTDATA

FOLDER = TESTDATA / "images"
NAMES = ["rgb.png", "rgb.jpg", "lossless.webp", "rgba.png"]
FILES = [(FOLDER / name).read_bytes() for name in NAMES]

features = {
    "image": {"_type": "Image"},
    "label": {"names": ["plain", "squeezed", "unused"], "_type": "ClassLabel"},
}
image = pa.array([{"bytes": file, "path": name} for file, name in zip(FILES, NAMES)])
table = pa.table({"image": image, "label": pa.array([0, 1, 0, 0])})
table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
pq.write_table(table, FOLDER / "hf.parquet", compression="zstd", row_group_size=3)

plain = pa.table({"picture": pa.array([*FILES, None], pa.binary()), "kind": ["a", "b", "a", "a", "b"]})
pq.write_table(plain, FOLDER / "bytes.parquet", compression="none")
