//! Base64 as clients send it: with line breaks, in the URL-safe alphabet, without padding, or as a
//! data URL.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Accepts any padding, and last characters whose spare bits are not zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Characters that are decoded at a time: a multiple of four.
const STEP: usize = 4 << 10;

/// Maximum characters before the comma of a data URL.
const MAX_DECLARED: usize = 200;

/// Why a string can't be decoded. Repeats at most one of its characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A character that base64 doesn't have.
    #[error("invalid base64: character {0:?} at position {1}")]
    Character(char, usize),
    /// Data after the padding.
    #[error("invalid base64: data after the padding at position {0}")]
    Padding(usize),
    /// A number of characters that encodes no whole number of bytes.
    #[error("invalid base64: truncated, {0} characters do not encode whole bytes")]
    Length(usize),
    /// A data URL without base64.
    #[error("a data URL must have `;base64` before its comma; other encodings are not supported")]
    NotBase64,
    /// A data URL without its data.
    #[error("a data URL needs a comma before its data")]
    NoComma,
    /// A data URL of something else.
    #[error("a data URL must contain an image, such as `data:image/jpeg;base64,…`")]
    NotAnImage,
}

/// The bytes that `text` encodes. Positions in errors count characters from 0.
///
/// # Errors
/// It is not base64, or a data URL of another kind.
pub fn decode(text: &str) -> Result<Vec<u8>, Error> {
    // Nearly always it is plain base64.
    if let Ok(bytes) = LENIENT.decode(text) {
        return Ok(bytes);
    }
    let begin = data_start(text)?;
    let mut decoder = Decoder::with_capacity((text.len() - begin) / 4 * 3 + 3);
    let mut position = text[..begin].chars().count();
    let escapes = begin > 0;
    let mut characters = text[begin..].chars();
    while let Some(mut character) = characters.next() {
        let at = position;
        position += 1;
        if character == '%' && escapes {
            // Percent-encoded as in a URL: `%2B` for `+`.
            let byte =
                characters.as_str().get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            if let Some(byte) = byte {
                character = char::from(byte);
                characters = characters.as_str()[2..].chars();
                position += 2;
            }
        }
        decoder.push(character, at)?;
    }
    decoder.finish()
}

/// Where the data begins: after the comma of a data URL, otherwise at 0.
fn data_start(text: &str) -> Result<usize, Error> {
    let url = text.trim_start();
    let offset = text.len() - url.len();
    if !url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
        return Ok(0);
    }
    let head = url.char_indices().take(MAX_DECLARED).find(|(_, character)| *character == ',');
    let comma = head.ok_or(Error::NoComma)?.0;
    let declared = url[5..comma].to_ascii_lowercase();
    let mut parts = declared.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let is_image = media_type.is_empty()
        || media_type.starts_with("image/")
        || media_type == "application/octet-stream";
    if !is_image {
        return Err(Error::NotAnImage);
    }
    if parts.next_back() != Some("base64") {
        return Err(Error::NotBase64);
    }
    Ok(offset + comma + 1)
}

/// Decodes in steps, so that a large string is not copied.
struct Decoder {
    bytes: Vec<u8>,
    step: [u8; STEP],
    filled: usize,
    characters: usize,
    padding: Option<usize>,
}

impl Decoder {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            step: [0; STEP],
            filled: 0,
            characters: 0,
            padding: None,
        }
    }

    fn push(&mut self, character: char, position: usize) -> Result<(), Error> {
        let digit = match character {
            ' ' | '\t' | '\n' | '\r' | '\x0C' => return Ok(()),
            '=' => {
                self.padding.get_or_insert(position);
                return Ok(());
            }
            '-' => b'+',
            '_' => b'/',
            'A'..='Z' | 'a'..='z' | '0'..='9' | '+' | '/' => character as u8,
            _ => return Err(Error::Character(character, position)),
        };
        if let Some(padding) = self.padding {
            return Err(Error::Padding(padding));
        }
        self.step[self.filled] = digit;
        self.filled += 1;
        self.characters += 1;
        if self.filled == STEP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let step = &self.step[..self.filled];
        LENIENT.decode_vec(step, &mut self.bytes).map_err(|_| Error::Length(self.characters))?;
        self.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.flush()?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_people_send_it() {
        let bytes = [0xFB, 0xEF, 0xBE, 0xFF];
        for text in [
            "++++/w==",
            "++++/w",
            "++++/w=",
            "----_w==",
            "----_w",
            "+-+-_w",
            "+++\r\n+/w\r\n==\r\n",
            "  ++ ++\t/w",
            "data:image/jpeg;base64,++++/w==",
            "data:image/jpeg;base64,----_w",
            "DATA:image/PNG;name=cat.png;BASE64, ++++\n/w==",
            "data:;base64,++++/w==",
            "data:image/jpeg;base64,%2B%2b++%2Fw%3D%3D",
            "\ndata:application/octet-stream;base64,++++/w==",
        ] {
            assert_eq!(decode(text).as_deref(), Ok(&bytes[..]), "{text}");
        }
        assert_eq!(decode(""), Ok(Vec::new()));
        assert_eq!(decode(" \n"), Ok(Vec::new()));
    }

    #[test]
    fn an_error_says_where_and_repeats_nothing() {
        for (text, error) in [
            ("QUJD%QUJD", Error::Character('%', 4)),
            ("é", Error::Character('é', 0)),
            ("data:image/png;base64,QUé", Error::Character('é', 24)),
            ("data:image/png;base64,%zz", Error::Character('%', 22)),
            ("QUI=QUJD", Error::Padding(3)),
            ("QUJDQ", Error::Length(5)),
            ("data:image/jpeg,%FF%D8", Error::NotBase64),
            ("data:image/svg+xml;utf8,<svg/>", Error::NotBase64),
            ("data:text/html;base64,QUJD", Error::NotAnImage),
            ("data:image/png;base64", Error::NoComma),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
        let long = format!("data:{},", "x".repeat(100_000));
        assert_eq!(decode(&long), Err(Error::NoComma));
        assert!(Error::Character('\n', 7).to_string().contains("'\\n' at position 7"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_form_come_back(bytes: Vec<u8>, width in 1_usize..80, form in 0..4) {
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            let mut sent: String = text
                .as_bytes()
                .chunks(width)
                .flat_map(|line| [std::str::from_utf8(line).unwrap(), "\r\n"])
                .collect();
            if form & 1 == 1 {
                sent = sent.replace('+', "-").replace('/', "_").replace('=', "");
            }
            if form & 2 == 2 {
                sent.insert_str(0, "data:image/webp;base64,");
            }
            proptest::prop_assert_eq!(decode(&sent), Ok(bytes));
        }

        #[test]
        fn any_text_is_decoded_or_refused(text: String) {
            let _ = decode(&text);
            let _ = decode(&format!("data:image/png;base64,{text}"));
        }
    }
}
