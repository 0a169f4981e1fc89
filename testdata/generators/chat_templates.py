"""Conversations as transformers renders them through chat templates of many kinds.

    python testdata/generators/chat_templates.py

Reads testdata/chat/*.jinja, templates of our own in the manner of released models' (what they use of Jinja, not their
words), and writes testdata/chat/expected.json: every template on every conversation, without and with the prompt for
an answer; the text, or what the template says when it refuses; and what `{% generation %}` encloses, in characters.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils
from transformers.utils.chat_template_utils import _normalize_chat_messages, render_jinja_template

FOLDER = Path(__file__).resolve().parent.parent / "chat"
NOW = datetime(2026, 3, 7, 14, 5, 9)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city, <now> & \"here\"",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Its name, such as Zürich"},
                    "days": {"type": "integer", "enum": [1, 3, 7]},
                    "units": {"type": ["string", "number"]},
                    "places": {"type": "array", "items": {"type": "number"}},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "stop", "description": "Ends.", "parameters": {"type": "object", "properties": {}, "required": []}}},
]
CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3, "at": 0.5, "small": 1e-7, "big": 1e16, "ok": True, "none": None, "q": "<\"'&>"}}}
CONVERSATIONS = {
    "user": {"messages": [{"role": "user", "content": "What is 2 + 3?"}]},
    "system": {"messages": [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hello,\nyou\n"}]},
    "turns": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": "  Three?\n\n"},
            {"role": "assistant", "content": "\nFour — “five” 🙂."},
        ]
    },
    "tools": {"messages": [{"role": "user", "content": "Weather?"}], "tools": TOOLS},
    "calls": {
        "messages": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": "Weather in Zürich?"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"degrees\": 21.5}"},
            {"role": "assistant", "content": "It is 21.5 degrees."},
            {"role": "user", "content": "Thanks"},
        ],
        "tools": TOOLS,
    },
    "two_calls": {
        "messages": [
            {"role": "user", "content": "Both?"},
            {"role": "assistant", "content": "Sure.", "tool_calls": [CALL, {"id": "call00002", "type": "function", "function": {"name": "stop", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call00001", "content": "sun"},
            {"role": "tool", "tool_call_id": "call00002", "content": "done"},
        ],
        "tools": TOOLS,
    },
    "thinking": {
        "messages": [
            {"role": "user", "content": "17 * 3?"},
            {"role": "assistant", "content": "<think>\n17 * 3 = 51\n</think>\n\n51"},
            {"role": "user", "content": "And 4?"},
            {"role": "assistant", "reasoning": "17 * 4 = 68", "content": "68"},
        ]
    },
    "no_thinking": {"messages": [{"role": "user", "content": "17 * 3?"}], "variables": {"enable_thinking": False}},
    "documents": {
        "messages": [{"role": "user", "content": "Who?"}],
        "documents": [{"title": "Gaius", "text": "Gaius was a cook."}, {"title": "Titus", "text": "Titus was not."}],
        "variables": {"controls": {"citations": True, "length": "short"}},
    },
    "parts": {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is this? "}]}]},
    "order": {"messages": [{"role": "assistant", "content": "I begin."}, {"role": "assistant", "content": "I go on."}]},
}


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template, conversation, add_generation_prompt):
    # As apply_chat_template does before it renders: null keys are dropped.
    messages = _normalize_chat_messages(conversation["messages"])
    try:
        [text], [spans] = render_jinja_template(
            [messages],
            tools=conversation.get("tools"),
            documents=conversation.get("documents"),
            chat_template=template,
            return_assistant_tokens_mask=True,
            add_generation_prompt=add_generation_prompt,
            **SPECIAL,
            **conversation.get("variables", {}),
        )
    except (jinja2.TemplateError, TypeError) as error:
        raised = type(error) is jinja2.TemplateError
        return {"raised": str(error)} if raised else {"fails": f"{type(error).__name__}: {error}"}
    return {"text": text, "generated": spans}


def main():
    chat_template_utils.datetime = Clock
    rendered = {}
    for path in sorted(FOLDER.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        for name, conversation in CONVERSATIONS.items():
            for prompt in (False, True):
                case = render(template, conversation, prompt)
                rendered.setdefault(path.stem, {}).setdefault(name, {})["prompt" if prompt else "plain"] = case
        refused = {name: case["plain"] for name, case in rendered[path.stem].items() if "text" not in case["plain"]}
        print(path.stem, "refuses", refused)
    golden = {
        "now": NOW.isoformat(),
        "special_tokens": SPECIAL,
        # As texts, for the order of keys counts.
        "conversations": {name: json.dumps(conversation, ensure_ascii=False) for name, conversation in CONVERSATIONS.items()},
        "rendered": rendered,
        "versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__},
    }
    path = FOLDER / "expected.json"
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    sys.exit(main())
