"""testdata/images/: small images in each format, and what Pillow makes of them, expected.safetensors: `<file>` is
`[channels, height, width]` as converted to L or RGB.
"""

import numpy as np
import PIL
import torch
from PIL import Image

from common import TESTDATA, save

folder = TESTDATA / "images"
folder.mkdir(exist_ok=True)
y, x = np.mgrid[0:9, 0:14]
red, green, blue = (40 + 15 * x) % 256, (20 * y + 7 * x) % 256, 255 - 18 * x
rgb = np.stack([red, green, blue], -1).astype(np.uint8)
grey = (10 * x + 12 * y).astype(np.uint8)
alpha = np.concatenate([rgb, 255 - grey[..., None]], -1)
pictures = {
    "grey.png": Image.fromarray(grey),
    "rgb.png": Image.fromarray(rgb),
    "rgba.png": Image.fromarray(alpha),
    "palette.png": Image.fromarray(rgb // 64 * 64).convert("P", palette=Image.Palette.ADAPTIVE, colors=16),
    "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
    "rgb.jpg": Image.fromarray(rgb),
    "grey.jpg": Image.fromarray(grey),
    "lossless.webp": Image.fromarray(rgb),
}
tensors = {}
for name, picture in pictures.items():
    picture.save(folder / name, **({"lossless": True} if name.endswith("webp") else {}))
    read = Image.open(folder / name)
    # Pillow clips sixteen bits to eight: the upper eight are what is meant.
    if name == "deep.png":
        values = (np.asarray(read) // 257)[None]
    else:
        values = np.asarray(read.convert("L" if name.startswith("grey") else "RGB"))
        values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    tensors[name] = torch.from_numpy(values.astype(np.int64))
save("images/expected.safetensors", tensors, {"shape": "[channels, height, width]"}, modules=[PIL])
