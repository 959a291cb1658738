//! What others have written, as a terminal may be shown it.
//!
//! Owns which characters could steer a terminal, or make a line read otherwise than it is. Called
//! wherever `tail` and `ctl` print what came from a server.

use std::borrow::Cow;

/// One line, with characters that steer written as JSON has them: in a JSON string they mean the same.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if steers(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(char);
        }
    }
    escaped.into()
}

/// Lines, each as [`line()`] has it.
pub(super) fn lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// Controls; what changes the direction of text (Unicode's UAX 9); what ends a line or cannot be seen.
/// The joiners U+200C and U+200D are part of words and pictures.
fn steers(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_as_json_has_it() {
        let hostile = "\u{ad}\u{e0041}\u{e007f}\u{9b}31m\u{7f}\u{1b}]0;\u{7}\u{202e}\u{2066}\u{61c}\u{2028}\u{200b}\r\t\n";
        let shown = line(hostile);
        assert!(!shown.contains(steers), "{shown:?}");
        let read: String = serde_json::from_str(&format!("\"{shown}\"")).unwrap();
        assert_eq!(read, hostile);
    }

    #[test]
    fn all_else_is_as_it_was() {
        for text in [
            "",
            "Zoë 😀 \\u202e \"",
            "\u{645}\u{6cc}\u{200c}\u{62e}",
            "👩\u{200d}🚀",
        ] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(lines("a\n\u{1b}b\n"), "a\n\\u001bb\n");
    }
}
