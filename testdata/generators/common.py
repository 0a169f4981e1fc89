"""What every generator shares: deterministic torch, f32-exact random values, a byte-stable writer."""

import hashlib
import json
import os
import platform
import struct
import sys
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import torch

TESTDATA = Path(__file__).resolve().parent.parent
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.bool: "BOOL",
}

# One thread: the order of every sum is then that of the source, not of the machine's core count.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(gen, *shape, std=1.0):
    """Normal values in f64 that f32 represents exactly, so one tensor starts both precisions."""
    values = torch.randn(shape, generator=gen, dtype=torch.float64) * std
    return values.float().double()


def versions(*modules):
    found = {"python": platform.python_version(), "torch": torch.__version__}
    found.update({module.__name__: module.__version__ for module in modules})
    return found


def save(name, tensors, metadata, modules=()):
    """Writes `testdata/<name>`: header keys sorted and metadata as JSON texts, so equal input gives equal bytes.

    safetensors' own writer leaves the order of the metadata to a hash map, which would make every
    regeneration look like a change.
    """
    metadata = {"generator": Path(sys.argv[0]).name, "versions": versions(np, *modules), **metadata}
    header = {"__metadata__": {k: json.dumps(metadata[k], sort_keys=True) for k in sorted(metadata)}}
    chunks, offset = [], 0
    # Wider elements first keeps every tensor aligned to its own width.
    for key in sorted(tensors, key=lambda k: (-tensors[k].element_size(), k)):
        tensor = tensors[key].detach().contiguous()
        data = tensor.numpy().tobytes()
        header[key] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = struct.pack("<Q", len(text)) + text + b"".join(chunks)
    (TESTDATA / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()[:16]
    print(f"wrote testdata/{name}: {len(tensors)} tensors, {len(content)} bytes, sha256 {digest}")
    for key in sorted(tensors):
        print(f"  {key} {DTYPE_NAMES[tensors[key].dtype]} {list(tensors[key].shape)}")
    for key in sorted(metadata):
        print(f"  metadata {key}: {json.dumps(metadata[key], sort_keys=True)[:200]}")
