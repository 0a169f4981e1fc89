//! Chat templates against transformers' renderings, and what cannot be rendered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rappel_data::{ChatTemplate, ChatValue, Conversation, Message, RenderOptions, ToolCall};
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/chat")
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap()
}

const SPECIAL: [(&str, &str); 2] = [("bos_token", "<s>"), ("eos_token", "</s>")];

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new("test", source, &SPECIAL).unwrap()
}

fn hello() -> Conversation {
    Conversation::new(vec![Message::new("user", "Hello")])
}

fn render(source: &str) -> String {
    template(source).render(&hello(), &RenderOptions::default()).unwrap().text
}

fn refusal(source: &str) -> String {
    template(source).render(&hello(), &RenderOptions::default()).unwrap_err().to_string()
}

#[test]
fn renderings_are_those_of_transformers() {
    let golden = golden();
    assert_eq!(
        golden["special_tokens"],
        serde_json::json!({"bos_token": "<s>", "eos_token": "</s>"})
    );
    let now = golden["now"].as_str().unwrap().parse().unwrap();
    let kinds = golden["rendered"].as_object().unwrap();
    assert!(kinds.len() >= 15);
    let (mut texts, mut refused, mut wrong) = (0, 0, Vec::new());
    for (kind, conversations) in kinds {
        let source = std::fs::read_to_string(folder().join(format!("{kind}.jinja"))).unwrap();
        let template = template(&source);
        for (name, cases) in conversations.as_object().unwrap() {
            let json = golden["conversations"][name].as_str().unwrap();
            let conversation = Conversation::from_json(json).unwrap();
            let json: ChatValue = serde_json::from_str(json).unwrap();
            let variables = json.get_attr("variables").unwrap();
            let variables: BTreeMap<String, ChatValue> = match variables.try_iter() {
                Ok(keys) => {
                    keys.map(|key| (key.to_string(), variables.get_item(&key).unwrap())).collect()
                }
                Err(_) => BTreeMap::new(),
            };
            for (prompt, expected) in cases.as_object().unwrap() {
                let options = RenderOptions {
                    add_generation_prompt: prompt == "prompt",
                    variables: variables.clone(),
                    now: Some(now),
                };
                let got = template.render(&conversation, &options);
                let right = match (&got, &expected["text"], &expected["raised"]) {
                    (Ok(got), Value::String(text), _) => {
                        texts += 1;
                        let char = |at: usize| got.text[..at].chars().count();
                        let spans: Vec<[usize; 2]> = got
                            .generated
                            .iter()
                            .map(|span| [char(span.start), char(span.end)])
                            .collect();
                        got.text == *text && serde_json::json!(spans) == expected["generated"]
                    }
                    (Err(error), Value::Null, Value::String(raised)) => {
                        refused += 1;
                        error.to_string().contains(raised)
                    }
                    (Err(_), Value::Null, Value::Null) => true,
                    _ => false,
                };
                if !right {
                    wrong.push(format!("{kind}, {name}, {prompt}:\n{got:?}\n{expected}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong; the first: {}", wrong.len(), wrong[0]);
    assert!(texts > 270 && refused >= 12, "{texts} {refused}");
}

#[test]
fn what_the_model_says_is_marked() {
    let source = "{% for m in messages %}{{ m.role }}:{% generation %} é{{ m.content }} {% endgeneration %}|{% endfor %}";
    let template = template(source);
    assert!(template.marks_generation());
    let rendered = template.render(&hello(), &RenderOptions::default()).unwrap();
    assert_eq!(rendered.text, "user: éHello |");
    let said: Vec<&str> =
        rendered.generated.iter().map(|span| &rendered.text[span.clone()]).collect();
    assert_eq!(said, [" éHello "]);
    let spells_a_mark = Conversation::new(vec![Message::new("user", "\u{fdd0}")]);
    let told = template.render(&spells_a_mark, &RenderOptions::default()).unwrap_err().to_string();
    assert!(told.contains("U+FDD0"), "{told}");
}

#[test]
fn a_template_that_refuses_is_quoted() {
    let told = refusal("\n{{ raise_exception('Only system messages.') }}");
    assert_eq!(
        told,
        "chat template of test: it refuses the conversation in line 2: Only system messages."
    );
    let macros = "{% macro no() %}{{ raise_exception('No.') }}{% endmacro %}{{ no() }}";
    assert!(refusal(macros).ends_with(": No."), "{}", refusal(macros));
}

#[test]
fn a_template_that_is_not_valid_is_told_by_its_line() {
    let error = ChatTemplate::new("models/x", "a\n{% if %}", &[]).err().unwrap().to_string();
    assert!(
        error.starts_with("chat template of models/x: it fails in line 2: syntax error"),
        "{error}"
    );
    let unknown = refusal("{{ messages | no_such_filter }}");
    assert!(unknown.contains("no_such_filter"), "{unknown}");
    let undefined = refusal("{{ messages[0].missing.deeper }}");
    assert!(undefined.contains("undefined"), "{undefined}");
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    let loops = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let told = refusal(loops);
    assert!(
        told.contains("took more than 10000000 steps") && told.contains("does not end"),
        "{told}"
    );
    let doubles = "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    assert!(refusal(doubles).contains("steps"), "{}", refusal(doubles));
}

#[test]
fn deep_recursion_is_an_error() {
    let told = refusal("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}");
    assert!(told.contains("recursion"), "{told}");
    let nested = format!("{}1{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    assert!(ChatTemplate::new("test", &nested, &[]).is_err());
    let parentheses = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(ChatTemplate::new("test", &parentheses, &[]).is_err());
}

#[test]
fn dates_in_unknown_formats_are_errors() {
    assert!(refusal("{{ strftime_now('%Q!') }}").contains("is not a date format"));
    let year: i32 = render("{{ strftime_now('%Y') }}").parse().unwrap();
    assert!(year >= 2024);
}

#[test]
fn messages_that_are_wrong_are_named() {
    let told = |json: &str| Conversation::from_json(json).unwrap_err();
    assert!(told("[").starts_with("not valid JSON: "));
    assert!(told("3").contains("found a number"));
    assert!(told("{}").starts_with("has no `messages`"));
    assert_eq!(told(r#"{"messages": 3}"#), "`messages` is not a list");
    assert_eq!(told(r#"[{"role": "user"}, {"content": "x"}]"#), "message 2: has no `role`");
    assert_eq!(told(r#"[{"role": 1}]"#), "message 1: `role` is not a text");
    assert_eq!(told(r#"["x"]"#), "message 1: expected an object, found a string");
    let content = "message 1: `content` is neither a text nor a list of parts";
    assert_eq!(told(r#"[{"role": "user", "content": 5}]"#), content);
    let call = "message 1: a tool call has no function `name`";
    assert_eq!(told(r#"[{"role": "assistant", "tool_calls": [{"id": "1"}]}]"#), call);
    assert_eq!(told(r#"{"messages": [], "tools": [1]}"#), "`tools` is not a list of objects");
}

#[test]
fn calls_of_tools_are_read_in_both_forms() {
    let json = r#"[{"role": "assistant", "content": null, "thinking": "hm", "tool_calls": [
        {"id": "a", "function": {"name": "f", "arguments": {"z": 1, "a": 2}}}, {"name": "g", "arguments": "{}"}]}]"#;
    let conversation = Conversation::from_json(json).unwrap();
    let message = &conversation.messages[0];
    assert_eq!((&message.content, message.reasoning.as_deref()), (&None, Some("hm")));
    let calls = message.tool_calls.as_ref().unwrap();
    assert_eq!(calls.iter().map(ToolCall::name).collect::<Vec<_>>(), ["f", "g"]);
    let text = template(
        "{{ messages[0].tool_calls[0].function.arguments | tojson }}{{ messages[0].thinking }}",
    );
    let rendered = text.render(&conversation, &RenderOptions::default()).unwrap();
    assert_eq!(rendered.text, r#"{"z": 1, "a": 2}hm"#);
}
