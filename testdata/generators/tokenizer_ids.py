"""Golden token ids: what transformers makes of the tokenizers that rappel writes, and of foreign ones.

    cargo run -p rappel-data --example write_tokenizers -- testdata/tokenizers/sample.txt 512 testdata/tokenizers
    python testdata/generators/tokenizer_ids.py

Writes to testdata/tokenizers/: `ids.json`, the ids of every text by every tokenizer, and
`metaspace/tokenizer.json`, a BPE in the manner of Llama 2 (no byte-level alphabet, byte fallback), trained here.
Asserts that AutoTokenizer gives the same ids beside a GPT-2 config.json, as in an exported model's folder, and
that a BPE trained by the Python package on the same text is the one rappel trained.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

# This file bears the name of the package it uses.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent / "tokenizers"
SAMPLE = (FOLDER / "sample.txt").read_text(encoding="utf-8")
TEXTS = [
    "", " ", "  ", "\n", "\n\n", " \n", "\n ", "a", " a", "a ", "a  b", "a\n\nb", "a\n \n  b\n", "\t\tx\t", "a\r\nb\r\n",
    "fn main() {\n    println!(\"{}\", 1_000);\n}\n", "don't I'll we've they're he'd it's i'm 'S '", "x='s' y='re'",
    "<|endoftext|>", "a<|endoftext|>b <|endoftext|>", "</s><s><unk>", "1234567890 ½ Ⅷ ² ௧௨", "naïve Ünïcödé ﬁ",
    "e\u0301 a\u0308\u0323", "\u00a0x\u00a0\u00a0y\u2003z\u3000", "\u200b\u200d\ufeffx", "a\u0085b\u2028c\u2029d\u001cx",
    "你好，世界。日本語テキスト 한국어", "नमस्ते दुनिया", "สวัสดีชาวโลก", "مرحبا بالعالم", "🙂🚀 👩‍👩‍👧‍👦 🇩🇪", "\x00\x01\x7f\x1b[0m",
    "ªºʰˠ ⓐ Ⓑ", "a" * 300, " " * 300, "ab " * 200, "\U0010ffff\ud7ff\ue000", "¼cup", "__init__ ->> &&mut **x", SAMPLE,
]


def ids_of(tokenizer):
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    return ids


def train_metaspace():
    """Pieces of SentencePiece's kind: spaces as U+2581, unknown characters as bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "isolated")
    tokenizer.train_from_iterator([SAMPLE], trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False))
    tokenizer.pre_tokenizer = None
    described = json.loads(tokenizer.to_str())
    # Bytes are ordinary tokens of the vocabulary, as in Llama's file.
    described["added_tokens"] = [token for token in described["added_tokens"] if not token["content"].startswith("<0x")]
    folder = FOLDER / "metaspace"
    folder.mkdir(exist_ok=True)
    text = json.dumps(described, ensure_ascii=False, indent=1) + "\n"
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return folder


def check_beside_model(name, expected):
    """AutoTokenizer may choose a class by the model's type: the ids must not depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        for file in (FOLDER / name).iterdir():
            shutil.copy(file, folder)
        Path(folder, "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert ids_of(tokenizer) == expected, f"{name}: other ids as {type(tokenizer).__name__}"
        print(f"{name}: the same ids as {type(tokenizer).__name__}")


def check_training(vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        [SAMPLE],
        trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    ours = json.loads((FOLDER / "bpe/tokenizer.json").read_text(encoding="utf-8"))["model"]
    theirs = json.loads(tokenizer.to_str())["model"]
    assert ours["merges"] == theirs["merges"] and ours["vocab"] == theirs["vocab"]
    print("bpe: the same merges as trained by the Python package")


def main():
    golden = {"texts": TEXTS, "tokenizers": {}}
    for name in ["byte", "bpe"]:
        tokenizer = AutoTokenizer.from_pretrained(FOLDER / name)
        ids = ids_of(tokenizer)
        for text, encoded in zip(TEXTS, ids):
            assert tokenizer.decode(encoded) == text, (name, text)
        golden["tokenizers"][name] = {"ids": ids, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
        check_beside_model(name, ids)
    check_training(golden["tokenizers"]["bpe"]["vocab_size"])
    metaspace = Tokenizer.from_file(str(train_metaspace() / "tokenizer.json"))
    metaspace.encode_special_tokens = True
    encoded = [metaspace.encode(text, add_special_tokens=False) for text in TEXTS]
    golden["tokenizers"]["metaspace"] = {
        "ids": [encoding.ids for encoding in encoded],
        "decoded": [metaspace.decode(encoding.ids) for encoding in encoded],
        "vocab_size": metaspace.get_vocab_size(),
        "eos_token_id": metaspace.token_to_id("</s>"),
    }
    golden["versions"] = {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__}
    path = FOLDER / "ids.json"
    path.write_text(json.dumps(golden, ensure_ascii=True) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
