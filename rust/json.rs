//! The JSON that is needed to write rows without the GIL.

/// Appends `text` as a JSON string.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    let mut plain = 0;
    for (at, byte) in
        text.bytes().enumerate().filter(|&(_, byte)| byte < b' ' || byte == b'"' || byte == b'\\')
    {
        json.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' | b'\\' => json.extend(['\\', char::from(byte)]),
            _ => json.push_str(&format!("\\u{byte:04x}")),
        }
    }
    json.push_str(&text[plain..]);
    json.push('"');
}

/// Appends `text` as a JSON string, or null.
pub(crate) fn push_option(json: &mut String, text: Option<&str>) {
    match text {
        Some(text) => push_string(json, text),
        None => json.push_str("null"),
    }
}

/// A JSON array with the text that `push` appends for each item.
pub(crate) fn array<T>(items: impl Iterator<Item = T>, mut push: impl FnMut(&mut String, T)) -> String {
    let mut json = String::from("[");
    for (n, item) in items.enumerate() {
        if n > 0 {
            json.push(',');
        }
        push(&mut json, item);
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let json = array(["a\"b\\c\n\u{1f}é", ""].into_iter(), push_string);
        assert_eq!(json, r#"["a\"b\\c\u000a\u001fé",""]"#);
    }
}
