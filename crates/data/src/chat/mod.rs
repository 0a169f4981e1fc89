//! Conversations as text, through the templates that models bring.

mod json;
mod message;
mod template;
mod time;

pub use message::{Content, Conversation, Message, ToolCall};
pub use template::{ChatTemplate, RenderOptions, Rendered};

/// A JSON value whose objects keep the order of their keys, which templates print.
pub use minijinja::Value as ChatValue;
