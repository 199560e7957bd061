//! `Content-Disposition` of a form's part: the names that clients write, in all their spellings.
//!
//! RFC 7578 requires names as plain UTF-8. Browsers write `%22` for a quotation mark, aiohttp
//! percent-encodes everything, older clients use `filename*` (RFC 5987, RFC 2231) or the encoded
//! words of mail (RFC 2047), and some send Latin-1.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The names of a part.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of the form's field.
    pub field: Option<String>,
    /// Of the file: empty if a form's file input was left empty, `None` if the part is not a file.
    pub file: Option<String>,
}

impl Names {
    /// The names in a `Content-Disposition` header.
    #[must_use]
    pub fn read(header: &[u8]) -> Self {
        let header = text(header);
        let parameters = parameters(&header);
        let find = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, it)| &**it)
        };
        let file = extended(&header).or_else(|| find("filename").map(unquoted).map(decoded));
        Self { field: find("name").map(unquoted).map(decoded), file }
    }
}

/// UTF-8, otherwise Latin-1.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(
        |_| bytes.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
        Cow::Borrowed,
    )
}

/// The parameters after the first `;`, with their values as written.
fn parameters(header: &str) -> Vec<(&str, &str)> {
    let mut pieces = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in header.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(&header[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&header[begin..]);
    let parameters = pieces.iter().filter_map(|piece| piece.split_once('='));
    parameters.map(|(name, value)| (name.trim(), value.trim())).collect()
}

/// A value without its quotation marks. A backslash is kept unless it escapes one of them or
/// itself: some clients send Windows paths.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(inner) = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
        return Cow::Borrowed(value.trim_matches('"'));
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(&next @ ('"' | '\\'))) => {
                characters.next();
                plain.push(next);
            }
            _ => plain.push(character),
        }
    }
    plain.into()
}

/// Bytes of a header that are searched for `filename*`.
const MAX_HEADER: usize = 8 << 10;

/// The file name of `filename*`, which takes precedence over `filename`; also in the numbered
/// pieces of RFC 2231.
fn extended(header: &str) -> Option<String> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let extended = parameters(header).into_iter().filter(|(name, _)| {
        name.get(..9).is_some_and(|name| name.eq_ignore_ascii_case("filename*"))
    });
    let alone = extended.fold(String::new(), |header, (name, value)| {
        format!("{header}; {}={value}", name.to_ascii_lowercase())
    });
    if alone.is_empty() {
        return None;
    }
    mailparse::parse_content_disposition(&alone).params.remove("filename")
}

/// A name out of the encoded words of RFC 2047, or percent-encoded.
fn decoded(name: Cow<'_, str>) -> String {
    if name.contains("=?") && name.contains("?=") {
        let header = format!("X: {name}");
        let words = mailparse::parse_header(header.as_bytes());
        return words.map_or_else(|_| name.into_owned(), |(header, _)| header.get_value());
    }
    let escapes = name.split('%').skip(1);
    let escaped = escapes.clone().count() > 0
        && escapes.clone().all(|rest| {
            rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
    if !escaped {
        return name.into_owned();
    }
    // aiohttp sends `100%.jpg` as `100%25.jpg`, but a name is taken literally if decoding would not
    // give a valid name.
    match percent_decode_str(&name).decode_utf8() {
        Ok(plain) if !plain.contains(char::is_control) => plain.into_owned(),
        _ => name.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &[u8]) -> String {
        Names::read(header).file.unwrap()
    }

    #[test]
    fn names_are_read_in_every_spelling() {
        for (written, name) in [
            (r#"filename="cat.jpg""#, "cat.jpg"),
            (r#"filename=cat.jpg"#, "cat.jpg"),
            (r#"FileName = "cat.jpg" "#, "cat.jpg"),
            (r#"filename="café ü.jpg""#, "café ü.jpg"),
            (r#"filename="a;b=c.jpg""#, "a;b=c.jpg"),
            // Browsers, curl, and those that escape.
            (r#"filename="a%22b.jpg""#, "a\"b.jpg"),
            (r#"filename="a\"b;.jpg""#, "a\"b;.jpg"),
            (r#"filename="a\\b.jpg""#, r"a\b.jpg"),
            (r#"filename="C:\photos\cat.jpg""#, r"C:\photos\cat.jpg"),
            // aiohttp.
            (r#"filename="caf%C3%A9%20%25.jpg""#, "café %.jpg"),
            (r#"filename="dog%2F1.jpg""#, "dog/1.jpg"),
            // A sign of its own.
            (r#"filename="100%.jpg""#, "100%.jpg"),
            (r#"filename="50% off 20%AB.jpg""#, "50% off 20%AB.jpg"),
            (r#"filename="%E9.jpg""#, "%E9.jpg"),
            (r#"filename="a%0Ab.jpg""#, "a%0Ab.jpg"),
            // RFC 5987 and RFC 2231.
            ("filename*=UTF-8''caf%C3%A9.jpg", "café.jpg"),
            ("filename*=utf-8'en'%e2%82%ac%20rates.jpg", "€ rates.jpg"),
            ("filename*=iso-8859-1''caf%E9.jpg", "café.jpg"),
            (r#"filename="caf_.jpg"; filename*=UTF-8''caf%C3%A9.jpg"#, "café.jpg"),
            (r#"filename*=UTF-8''caf%C3%A9.jpg; filename="caf_.jpg""#, "café.jpg"),
            ("filename*0*=UTF-8''caf%C3; filename*1*=%A9; filename*2=.jpg", "café.jpg"),
            // RFC 2047.
            (r#"filename="=?UTF-8?B?Y2Fmw6kuanBn?=""#, "café.jpg"),
            (r#"filename="=?utf-8?Q?caf=C3=A9_1.jpg?=""#, "café 1.jpg"),
            (r#"filename="=?ISO-8859-1?Q?caf=E9.jpg?=""#, "café.jpg"),
            (r#"filename="=?UTF-8?B?Y2Fm?= =?UTF-8?B?w6kuanBn?=""#, "café.jpg"),
            (r#"filename="=?what.jpg""#, "=?what.jpg"),
        ] {
            let header = format!("form-data; name=\"image\"; {written}");
            let names = Names::read(header.as_bytes());
            assert_eq!(names.file.as_deref(), Some(name), "{written}");
            assert_eq!(names.field.as_deref(), Some("image"), "{written}");
        }
        assert_eq!(file(b"form-data; filename=\"caf\xE9.jpg\""), "café.jpg");
    }

    #[test]
    fn an_empty_name_is_not_a_missing_one() {
        assert_eq!(file(br#"form-data; name="a"; filename="""#), "");
        assert_eq!(Names::read(br#"form-data; name="filename""#).file, None);
        assert_eq!(Names::read(b"").field, None);
        assert_eq!(Names::read(b"form-data; filename*=nonsense; name=x").field.unwrap(), "x");
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_read(header: Vec<u8>, value in "[\"\\\\%=?*;'a-zé0-2 ]{0,40}") {
            let _ = Names::read(&header);
            for parameter in ["filename", "filename*", "filename*0*", "name"] {
                let _ = Names::read(format!("form-data; {parameter}={value}").as_bytes());
                let _ = Names::read(format!("form-data; {parameter}=\"{value}\"").as_bytes());
            }
        }

        #[test]
        fn what_browsers_write_is_read_back(name in "[^\\p{C}%\\\\]{1,40}") {
            let written = name.replace('"', "%22");
            let read = file(format!("form-data; filename=\"{written}\"").as_bytes());
            if !name.contains("=?") {
                proptest::prop_assert_eq!(read, name);
            }
        }
    }
}
