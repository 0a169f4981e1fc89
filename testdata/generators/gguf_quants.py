"""Every block format that is read, with its numbers as the `gguf` package reads them; and what it writes.

`testdata/gguf/quants.gguf` holds for each format TYPE the tensors `TYPE`, `TYPE.f32` (its numbers), and for those that are
written `TYPE.source` (numbers of which `TYPE` was made). Keys of every type are beside them.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

PATH = Path(__file__).resolve().parent.parent / "gguf" / "quants.gguf"
Type = gguf.GGMLQuantizationType
ROWS, WIDTH = 3, 512
# Where blocks hold half-precision scales.
HALVES = {
    Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}

random = np.random.default_rng(7)
writer = gguf.GGUFWriter(PATH, "test")
writer.add_uint8("int.u8", 200)
writer.add_int8("int.i8", -100)
writer.add_uint16("int.u16", 60000)
writer.add_int16("int.i16", -30000)
writer.add_uint32("int.u32", 4_000_000_000)
writer.add_int32("int.i32", -2_000_000_000)
writer.add_uint64("int.u64", 1 << 40)
writer.add_int64("int.i64", -(1 << 40))
writer.add_float32("float.f32", 0.25)
writer.add_float64("float.f64", 1e-300)
writer.add_bool("bool", True)
writer.add_string("text", "Grüße")
writer.add_array("texts", ["a", "", "b c"])
writer.add_array("ints", [1, -2, 3])
writer.add_array("floats", [0.5, -1.5])


def add(kind, blocks):
    numbers = dequantize(blocks, kind)
    writer.add_tensor(f"{kind.name}.f32", np.ascontiguousarray(numbers, dtype=np.float32))
    if blocks.dtype == np.uint8:
        writer.add_tensor(kind.name, blocks, raw_dtype=kind)
    else:
        writer.add_tensor(kind.name, blocks)


for kind in [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0]:
    source = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    source[0, :32] = 0
    source[1, :32] = np.arange(32) - 15.5
    writer.add_tensor(f"{kind.name}.source", source)
    add(kind, quantize(source, kind))
for kind, halves in HALVES.items():
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * WIDTH // block, size)).astype(np.uint8)
    for at in halves:
        scales = random.normal(size=len(blocks)).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    add(kind, blocks.reshape(ROWS, -1))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
print(f"wrote {PATH}: {PATH.stat().st_size} bytes")
