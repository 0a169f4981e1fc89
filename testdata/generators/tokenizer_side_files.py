"""What transformers makes of the files beside a tokenizer.json.

    python testdata/generators/tokenizer_side_files.py

Writes testdata/tokenizers/side_files.json: folders that hold testdata/tokenizers/metaspace/tokenizer.json with another
post-processor, and other files; the ids of texts in them, around texts and within, special tokens, and the ids of
conversations with what `{% generation %}` encloses. The folders are what the test writes, too.
"""

import json
import sys
import tempfile
from pathlib import Path

# A file beside this one bears the name of a package.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import transformers  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent / "tokenizers"
TEXTS = ["hi there", "", "fn main() {}", "a</s>b", "naïve 🙂"]
TOKEN = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n"
    "{% else %}{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
)
CHAT = [
    {"role": "user", "content": "Where is naïve main()?"},
    {"role": "assistant", "content": "Here, and there. 🙂"},
    {"role": "user", "content": "</s> ok"},
    {"role": "assistant", "content": "let x = 1;"},
]


def around(begin, end):
    piece = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    ids = {"<s>": 1, "</s>": 2}
    single = [piece("<s>")] * begin + [{"Sequence": {"id": "A", "type_id": 0}}] + [piece("</s>")] * end
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}]
    special = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in ids}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}


def decoder(**tokens):
    return {str(id): {"content": content, "special": True, **TOKEN} for content, id in tokens.items()}


CASES = {
    "plain": (None, {"tokenizer_config.json": NAMED}),
    "asks_for_bos": (None, {"tokenizer_config.json": {**NAMED, "add_bos_token": True, "add_eos_token": True}}),
    "bos": (around(True, False), {"tokenizer_config.json": NAMED}),
    "asks_for_no_bos": (around(True, False), {"tokenizer_config.json": {**NAMED, "add_bos_token": False}}),
    "both": (around(True, True), {"tokenizer_config.json": NAMED}),
    "llama": (around(True, False), {"tokenizer_config.json": {**NAMED, "tokenizer_class": "LlamaTokenizer"}}),
    "added": (
        around(True, False),
        {
            "tokenizer_config.json": {
                **NAMED,
                "added_tokens_decoder": decoder(**{"<s>": 1, "<|im_start|>": 600, "<|im_end|>": 601}),
                "eos_token": "<|im_end|>",
                "pad_token": "<pad>",
                "additional_special_tokens": ["<|x|>"],
                "model_max_length": 512,
                "padding_side": "left",
                "chat_template": TEMPLATE,
            }
        },
    ),
    "special_tokens_map": (
        None,
        {
            "tokenizer_config.json": {**NAMED, "model_max_length": 1000000000000000019884624838656},
            "special_tokens_map.json": {
                "eos_token": {"content": "<|im_end|>", **TOKEN},
                "pad_token": "</s>",
                "additional_special_tokens": ["<|im_start|>"],
            },
            "chat_template.jinja": TEMPLATE,
        },
    ),
    "named_templates": (
        None,
        {
            "tokenizer_config.json": {
                **NAMED,
                "chat_template": [
                    {"name": "default", "template": TEMPLATE},
                    {"name": "tool_use", "template": "tools " + TEMPLATE},
                ],
                "extra_special_tokens": ["<|im_start|>", "<|im_end|>"],
            }
        },
    ),
}


def main():
    described = json.loads((FOLDER / "metaspace/tokenizer.json").read_text(encoding="utf-8"))
    golden = {"texts": TEXTS, "chat": CHAT, "cases": {}, "versions": {"transformers": transformers.__version__}}
    for name, (post_processor, files) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            with_post = {**described, "post_processor": post_processor}
            Path(folder, "tokenizer.json").write_text(json.dumps(with_post), encoding="utf-8")
            for file, content in files.items():
                text = content if isinstance(content, str) else json.dumps(content)
                Path(folder, file).write_text(text, encoding="utf-8")
            tokenizer = AutoTokenizer.from_pretrained(folder)
        case = {
            "post_processor": post_processor,
            "files": {file: text if isinstance(text, str) else json.dumps(text) for file, text in files.items()},
            "ids": [tokenizer(text, split_special_tokens=True)["input_ids"] for text in TEXTS],
            "special_tokens": tokenizer.special_tokens_map,
            "eos_token_id": tokenizer.eos_token_id,
            "vocab_size": len(tokenizer),
            "padding_side": tokenizer.padding_side,
            "model_max_length": tokenizer.model_max_length if tokenizer.model_max_length < 1e15 else None,
        }
        if tokenizer.chat_template:
            chat = tokenizer.apply_chat_template(CHAT, return_assistant_tokens_mask=True, return_dict=True)
            case |= {"chat_ids": chat["input_ids"], "assistant_masks": chat["assistant_masks"]}
        golden["cases"][name] = case
        print(name, case["ids"][0], case["special_tokens"])
    path = FOLDER / "side_files.json"
    path.write_text(json.dumps(golden, ensure_ascii=True, indent=1) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
