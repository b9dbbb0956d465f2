//! Reads TOML, and refuses values that nest so deeply that reading them could use up a thread's
//! stack: the library bounds the depth of tables and the length of keys, but not both together.

use serde::de::{DeserializeOwned, Error as _};
use toml::de::Error;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Maximum depth of a value below its table, in lists, tables and parts of keys.
const MAX_DEPTH: usize = 32;

/// Reads a value.
///
/// # Errors
/// If the text is not TOML, nests too deeply, or describes something else.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    match depth(text) {
        0..=MAX_DEPTH => toml::from_str(text),
        _ => Err(Error::custom(format!(
            "values are nested too deeply; the maximum is {MAX_DEPTH} levels"
        ))),
    }
}

/// The depth of the deepest value, from the tokens alone: the text need not be valid.
fn depth(text: &str) -> usize {
    // The parts of the keys before each open bracket, and since the last one.
    let (mut open, mut outside, mut parts) = (Vec::new(), 0, 0);
    let mut deepest = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => parts += 1,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                open.push(parts + 1);
                outside += parts + 1;
                parts = 0;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                outside -= open.pop().unwrap_or_default();
                parts = 0;
            }
            TokenKind::Comma | TokenKind::Newline => parts = 0,
            _ => {}
        }
        deepest = deepest.max(outside + parts);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_parts_of_keys_count_together() {
        for (text, expected) in [
            ("", 0),
            ("a = 1", 0),
            ("a.b.c = 1", 2),
            ("[a.b]\nc = 1\nd.e = 1.5", 2),
            ("[[a]]\nb = [1, 2]\n", 2),
            ("a = [{b.c = 1}, {d = {e = 1}}]", 3),
            ("a.b = {c.d = {e.f = 1}}", 5),
            ("a = \"[[[[....\"\n# {{{{....\nb = '[[.'", 0),
            ("a = \"\"\"\n[[[\n\"\"\"", 0),
            ("]]}}a.b", 1),
        ] {
            assert_eq!(depth(text), expected, "{text}");
        }
    }
}
