"""testdata/sentences/: a tiny folder of sentence-transformers as that library saves it, and embeddings that it makes.

    python sentences.py

`expected.json` holds texts, embeddings by the folder's own layers (mean, normalized, at most 8 tokens), and the states of the
first token, not normalized, of at most 16.
"""

import json
import shutil
import tempfile

import sentence_transformers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from architectures import fill
from common import TESTDATA, versions

FOLDER = TESTDATA / "sentences"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the a cat dog sat ran on mat road quick ##ly ##s ##ed walk jump over lazy fox brown . , ! é über".split()
TEXTS = [
    "The cat sat on the mat.",
    "a dog ran quickly",
    "",
    "The quick brown fox jumped over the lazy dog, the cat walks on the road!",
    "ÜBER cafés",
    "dogs",
    "the cat , the dog",
    "walked",
]


def tokenizer():
    made = Tokenizer(models.WordPiece({t: i for i, t in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=16, **named)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    config = BertConfig(vocab_size=len(SPECIAL + WORDS), hidden_size=8, intermediate_size=12, num_hidden_layers=2,
                        num_attention_heads=2, max_position_embeddings=16)
    model = BertModel(config).eval()
    fill(model, 5)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        transformer = Transformer(folder, max_seq_length=8)
        layers = [transformer, Pooling(8, "mean"), Normalize()]
        made = SentenceTransformer(modules=layers, device="cpu")
        made.save(str(FOLDER), create_model_card=False)
    (FOLDER / "model.safetensors").chmod(0o644)
    read = SentenceTransformer(str(FOLDER), device="cpu")
    sentences = read.encode(TEXTS)
    encoder, words = AutoModel.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    inputs = words(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        first = encoder(**inputs).last_hidden_state[:, 0]
    expected = {
        "generator": "sentences.py", "versions": versions(transformers, sentence_transformers), "texts": TEXTS,
        "sentences": sentences.tolist(), "first": first.tolist(),
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


main()
