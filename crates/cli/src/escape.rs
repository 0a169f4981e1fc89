//! Names as they are safe to show: a file may be called anything, also what commands a terminal.

use std::borrow::Cow;

/// The text with control characters written out, as `\u{1b}` for an escape; line breaks and tabs, of
/// which messages are made, stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_control(c) && !matches!(c, '\n' | '\t'))
}

/// As [`escaped`], for a text of one line: line breaks are written out, too.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_control(c) && c != '\t')
}

/// Controls of terminals, and those that turn the direction of writing round.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, hide: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&hide) {
        return Cow::Borrowed(text);
    }
    let push = |mut shown: String, c: char| {
        if hide(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    };
    Cow::Owned(text.chars().fold(String::new(), push))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_a_terminal_is_written_out() {
        assert_eq!(
            escaped("a\u{1b}[2J\rb\u{7}\u{9b}\u{202e}"),
            r"a\u{1b}[2J\rb\u{7}\u{9b}\u{202e}"
        );
        assert_eq!(escaped("two\nlines\tühm 漢"), "two\nlines\tühm 漢");
        assert_eq!(one_line("two\nlines"), r"two\nlines");
    }
}
