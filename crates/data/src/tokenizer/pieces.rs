//! Cutting a long text where its tokens are cut anyway, so that its pieces can go to several threads.

use serde_json::Value;

/// Bytes after which a piece ends at the next line break that allows it.
const PIECE: usize = 1 << 16;

/// Whether a tokenizer gives a text the tokens of its [`pieces`], one after another: it is a
/// byte-level BPE that splits as GPT-2 does, and nothing of it reaches over that split.
pub(super) fn can_be_cut(tokenizer: &Value, inner: &tokenizers::Tokenizer) -> bool {
    let splitter = &tokenizer["pre_tokenizer"];
    let added = inner.get_added_tokens_decoder();
    tokenizer["model"]["type"] == "BPE"
        && tokenizer["normalizer"].is_null()
        && splitter["type"] == "ByteLevel"
        && splitter["add_prefix_space"] == false
        && splitter["use_regex"] != false
        && added.values().all(|token| token.special)
}

/// The text in pieces of about 64 KiB.
///
/// A piece ends after a line break between two visible ASCII characters. There the pattern of GPT-2
/// makes the break a token of its own whether the text continues or not: its alternatives for
/// letters, numbers and other signs take no line break, `\s+(?!\S)` takes white space only before
/// more of it or at the end, and what is left takes the single break.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(cut) = next_cut(rest.as_bytes()) {
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fn next_cut(text: &[u8]) -> Option<usize> {
    let allows = |around: &[u8]| {
        around[1] == b'\n' && around[0].is_ascii_graphic() && around[2].is_ascii_graphic()
    };
    let at = text.get(PIECE..)?.windows(3).position(allows)?;
    Some(PIECE + at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_only_where_allowed_and_lose_nothing() {
        let text = "fn f() {\n\n    xx\n}\nlet é = 1;\né\n".repeat(20_000);
        let pieces = pieces(&text);
        assert!(pieces.len() > 5);
        assert_eq!(pieces.concat(), text);
        for pair in pieces.windows(2) {
            assert!(pair[0].len() >= PIECE && pair[0].len() < PIECE + 100);
            let around = (&pair[0][pair[0].len() - 2..], &pair[1][..1]);
            assert!(matches!(around, ("x\n", "}") | ("}\n", "l")), "{around:?}");
        }
    }
}
