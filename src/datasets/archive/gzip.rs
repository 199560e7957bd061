//! Unpacks gzip as common tools write it: consecutive members (`cat a.gz b.gz`, `pigz`), and zeros
//! after them, as `bsdtar` and tapes write to fill a block.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The bytes of all members of a gzip stream.
#[derive(Debug)]
pub(super) struct Gunzip<R: BufRead> {
    state: State<R>,
}

#[derive(Debug)]
enum State<R: BufRead> {
    Member(Box<GzDecoder<R>>),
    Between(R),
    /// An error was returned, or the end reached.
    Done,
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { state: State::Member(Box::new(GzDecoder::new(stream))) }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Ok(0),
                State::Member(mut decoder) => match decoder.read(buffer)? {
                    0 => self.state = State::Between(decoder.into_inner()),
                    read => {
                        self.state = State::Member(decoder);
                        return Ok(read);
                    }
                },
                State::Between(mut stream) => {
                    let Some(next) = next_member(&mut stream)? else { return Ok(0) };
                    if next != 0x1F {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "unexpected data after the gzip stream",
                        ));
                    }
                    self.state = State::Member(Box::new(GzDecoder::new(stream)));
                }
            }
        }
    }
}

/// Skips zeros; returns the byte that follows them, which is left in the stream.
fn next_member(stream: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let bytes = stream.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let next = bytes.get(zeros).copied();
        stream.consume(zeros);
        if next.is_some() {
            return Ok(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(bytes: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        let mut text = Vec::new();
        // A buffer that ends anywhere.
        let result = Gunzip::new(BufReader::with_capacity(7, bytes)).read_to_end(&mut text);
        (text, result)
    }

    #[test]
    fn members_and_padding_are_read_to_the_end() {
        let stream =
            [gzip(b"one "), gzip(b""), vec![0; 20], gzip(b"two"), vec![0; 10_000]].concat();
        let (text, result) = gunzip(&stream);
        assert_eq!((text.as_slice(), result.unwrap()), (&b"one two"[..], 7));
    }

    #[test]
    fn what_is_no_gzip_is_an_error_after_what_is() {
        for (stream, expected) in [
            ([gzip(b"one"), b"garbage".to_vec()].concat(), "unexpected data"),
            ([gzip(b"one"), vec![0, 0, 9]].concat(), "unexpected data"),
            ([gzip(b"one"), gzip(b"two")[..12].to_vec()].concat(), ""),
            (gzip(b"one")[..gzip(b"one").len() - 3].to_vec(), ""),
        ] {
            let (text, result) = gunzip(&stream);
            assert!(text.starts_with(b"one"));
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
