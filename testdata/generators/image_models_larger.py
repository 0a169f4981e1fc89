"""testdata/image_models/vit/larger.safetensors: images `x` larger than those that the model was made for, and its `logits` with
positions interpolated by transformers.
"""

import torch
import transformers
from transformers import ViTForImageClassification

from common import TESTDATA, generator, normal, save

model = ViTForImageClassification.from_pretrained(TESTDATA / "image_models" / "vit", dtype=torch.float64).eval()
x = normal(generator(91), 2, 3, 20, 16)
with torch.no_grad():
    logits = model(pixel_values=x, interpolate_pos_encoding=True).logits
save("image_models/vit/larger.safetensors", {"x": x, "logits": logits}, {"model": "vit"}, modules=[transformers])
