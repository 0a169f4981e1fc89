"""Logits after transformers' processors, in the order in which `generate` applies them.

    python testdata/generators/sampling.py

Writes testdata/sampling.json: logits, a prompt with the text after it, and for each set of options what is left, null
for what cannot be drawn; f64. Presence and frequency penalties are not transformers': they are those of OpenAI's
documentation, taken from the logits after the repetition penalty as vLLM does.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import LogitsProcessorList

FILE = Path(__file__).resolve().parent.parent / "sampling.json"
VOCABULARY = 200
PROMPT = [3, 17, 17, 40, 199]
GENERATED = [40, 8, 8, 8, 120, 3]
OPTIONS = [
    {"do_sample": False},
    {"do_sample": False, "repetition_penalty": 1.3},
    {"do_sample": True, "temperature": 0.7},
    {"do_sample": True, "temperature": 1.8},
    {"do_sample": True, "top_k": 1},
    {"do_sample": True, "top_k": 50},
    {"do_sample": True, "top_k": 500},
    {"do_sample": True, "top_p": 0.05},
    {"do_sample": True, "top_p": 0.9},
    {"do_sample": True, "top_p": 1.0},
    {"do_sample": True, "min_p": 0.0},
    {"do_sample": True, "min_p": 0.05},
    {"do_sample": True, "min_p": 1.0},
    {"do_sample": True, "repetition_penalty": 0.8},
    {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95},
    {"do_sample": True, "temperature": 1.3, "top_k": 40, "top_p": 0.8, "min_p": 0.1, "repetition_penalty": 1.1},
    {"do_sample": True, "temperature": 2.5, "top_p": 0.5, "min_p": 0.3},
    {"do_sample": False, "presence_penalty": 0.6},
    {"do_sample": False, "frequency_penalty": 0.4},
    {"do_sample": True, "temperature": 0.9, "top_k": 30, "repetition_penalty": 1.2, "presence_penalty": -0.5, "frequency_penalty": 1.5},
]


def penalties(scores, presence, frequency):
    for token in set(GENERATED):
        scores[0, token] -= presence + frequency * GENERATED.count(token)
    return scores


def main():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    # Only its method is used, which makes processors of options.
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=VOCABULARY))
    logits = {"spread": 1.5 * torch.randn(VOCABULARY), "ties": torch.randint(-6, 4, (VOCABULARY,)).double() / 2}
    ids = torch.tensor([PROMPT + GENERATED])
    cases = []
    for name, values in logits.items():
        for options in OPTIONS:
            own = {key: options[key] for key in options if key not in ("presence_penalty", "frequency_penalty")}
            # None of the defaults of `generate`, such as top_k = 50.
            config = GenerationConfig(**{"top_k": None, "temperature": 1.0, "top_p": None, **own})
            processors = model._get_logits_processor(generation_config=config, input_ids_seq_length=len(PROMPT))
            before = [p for p in processors if type(p).__name__ == "RepetitionPenaltyLogitsProcessor"]
            after = [p for p in processors if p not in before]
            scores = LogitsProcessorList(before)(ids, values[None].clone())
            scores = penalties(scores, options.get("presence_penalty", 0.0), options.get("frequency_penalty", 0.0))
            scores = LogitsProcessorList(after)(ids, scores)[0]
            # Where equal tokens stand at the edge of top_p, which of them are left is the sort's choice.
            if name == "ties" and options.get("top_p", 1.0) < 1.0:
                continue
            left = [score if score > -float("inf") else None for score in scores.tolist()]
            cases.append({"logits": name, "options": options, "processed": left})
            print(name, options, [type(p).__name__ for p in processors], sum(score is not None for score in left))
    golden = {
        "logits": {name: values.tolist() for name, values in logits.items()},
        "prompt": PROMPT,
        "generated": GENERATED,
        "cases": cases,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    FILE.write_text(json.dumps(golden) + "\n")
    print(FILE, FILE.stat().st_size)


if __name__ == "__main__":
    sys.exit(main())
