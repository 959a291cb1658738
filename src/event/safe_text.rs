//! Safe text: valid JSON in which nothing can end a script element or a line of JavaScript, so that
//! a frame may be put inside an HTML page.
//!
//! `<`, `>`, `&`, U+2028 and U+2029 can only stand inside strings of valid JSON, so writing them as
//! `\u` escapes changes no value. Called by the block builder for every event: the usual payload
//! has none of them and is copied whole.

use memchr::{memchr_iter, memchr3_iter};

/// Bytes of one escape, `\u003c`.
const ESCAPE_LEN: usize = 6;

/// Copies the valid JSON `raw` to the end of `out` as safe text.
pub fn escape_into(raw: &[u8], out: &mut Vec<u8>) {
    copy(raw, escaped_len(raw), out);
}

/// The bytes that `raw` will have as safe text.
pub(super) fn escaped_len(raw: &[u8]) -> usize {
    let ascii = memchr3_iter(b'<', b'>', b'&', raw).count();
    let separators = memchr_iter(0xE2, raw)
        .filter(|&at| separator(&raw[at..]).is_some())
        .count();
    raw.len() + ascii * (ESCAPE_LEN - 1) + separators * (ESCAPE_LEN - 3)
}

/// [`escape_into`] for a `raw` whose [`escaped_len`] is known.
pub(super) fn copy(raw: &[u8], escaped_len: usize, out: &mut Vec<u8>) {
    out.reserve(escaped_len);
    if escaped_len == raw.len() {
        out.extend_from_slice(raw);
        return;
    }
    let mut rest = raw;
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xE2))
    {
        let (clean, found) = rest.split_at(at);
        out.extend_from_slice(clean);
        let (escape, len): (&[u8], usize) = match found[0] {
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            lead => match separator(found) {
                Some(escape) => (escape, 3),
                None => {
                    out.push(lead);
                    (b"", 1)
                }
            },
        };
        out.extend_from_slice(escape);
        rest = &found[len..];
    }
    out.extend_from_slice(rest);
}

/// The escape of the line or paragraph separator that `text` begins with.
fn separator(text: &[u8]) -> Option<&'static [u8]> {
    match text {
        [0xE2, 0x80, 0xA8, ..] => Some(b"\\u2028"),
        [0xE2, 0x80, 0xA9, ..] => Some(b"\\u2029"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn escape(text: &str) -> String {
        let mut out = b"before ".to_vec();
        escape_into(text.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        out.strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn five_characters_are_escaped_and_no_other() {
        assert_eq!(
            escape("{\"<a>&\u{2028}\u{2029}\":\"</script>\"}"),
            r#"{"\u003ca\u003e\u0026\u2028\u2029":"\u003c/script\u003e"}"#
        );
        for same in [
            "",
            "{}",
            "{\"a\":\"’“é😀\u{2027}\u{202a}â\"}",
            r#"{"a":"\u003c\\"}"#,
        ] {
            assert_eq!(escape(same), same);
        }
    }

    proptest! {
        #[test]
        fn the_value_stays_and_the_characters_go(
            texts in prop::collection::vec("([<>&\u{2028}\u{2029}’é\\\\\"a]|.){0,30}", 0..6),
        ) {
            let json = serde_json::to_string(&texts).unwrap();
            let safe = escape(&json);
            prop_assert_eq!(safe.len(), escaped_len(json.as_bytes()));
            let unsafe_left = safe.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
            prop_assert!(!unsafe_left);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&safe).unwrap(), texts);
        }
    }
}
