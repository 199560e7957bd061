//! Pax records: `LENGTH KEY=VALUE\n`, one after the other. A value may contain any byte, even
//! newlines.

use super::{parse::number, sparse::Chunk};

/// The records before an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    /// Bytes of the entry in the archive.
    pub(super) size: Option<u64>,
    pub(super) sparse: Option<Sparse>,
}

/// A sparse file, as GNU tar writes one with pax records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Bytes of the file with its holes.
    pub(super) real_size: Option<u64>,
    /// The map of its data; in version 1.0, the data begin with it.
    pub(super) map: Vec<Chunk>,
    pub(super) map_in_data: bool,
}

impl Pax {
    /// Reads records; `None` if they are damaged.
    pub(super) fn parse(mut records: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        let mut sparse = Sparse::default();
        let mut is_sparse = false;
        let mut offset = None;
        let mut sparse_path = None;
        while !records.is_empty() {
            // Some writers pad with zeros.
            if records.iter().all(|&byte| byte == 0) {
                break;
            }
            let space = records.iter().position(|&byte| byte == b' ')?;
            let length = usize::try_from(number(&records[..space])?).ok()?;
            let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
            records = &records[length..];
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            is_sparse |= key.starts_with(b"GNU.sparse.");
            match key {
                // An empty value removes an earlier one.
                b"path" => pax.path = Some(value.to_vec()).filter(|path| !path.is_empty()),
                b"linkpath" => pax.link = Some(value.to_vec()).filter(|path| !path.is_empty()),
                b"size" if value.is_empty() => pax.size = None,
                b"size" => pax.size = Some(number(value)?),
                b"GNU.sparse.name" => sparse_path = Some(value.to_vec()),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    sparse.real_size = Some(number(value)?);
                }
                b"GNU.sparse.major" => sparse.map_in_data = number(value)? == 1,
                b"GNU.sparse.map" => sparse.map = map(value)?,
                b"GNU.sparse.offset" => offset = Some(number(value)?),
                b"GNU.sparse.numbytes" => {
                    sparse.map.push(Chunk { offset: offset.take()?, length: number(value)? });
                }
                _ => {}
            }
        }
        pax.path = sparse_path.or(pax.path);
        pax.sparse = is_sparse.then_some(sparse);
        Some(pax)
    }
}

fn map(value: &[u8]) -> Option<Vec<Chunk>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    let numbers: Option<Vec<u64>> = value.split(|&byte| byte == b',').map(number).collect();
    let numbers = numbers?;
    let (pairs, []) = numbers.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|&[offset, length]| Chunk { offset, length }).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(key: &str, value: &str) -> Vec<u8> {
        let body = format!(" {key}={value}\n");
        let mut length = body.len() + 1;
        while length.to_string().len() + body.len() != length {
            length += 1;
        }
        format!("{length}{body}").into_bytes()
    }

    #[test]
    fn records_are_read_whatever_their_values_hold() {
        let records =
            [record("comment", "x"), record("path", "a\nb=c.jpg"), record("size", "12")].concat();
        let pax = Pax::parse(&records).unwrap();
        assert_eq!((pax.path.as_deref(), pax.size), (Some(&b"a\nb=c.jpg"[..]), Some(12)));
        let again = [records, record("path", ""), vec![0; 3]].concat();
        assert_eq!(Pax::parse(&again).unwrap().path, None);
    }

    #[test]
    fn maps_of_sparse_files_are_read_in_each_version() {
        let chunks = vec![Chunk { offset: 1, length: 2 }, Chunk { offset: 9, length: 0 }];
        let old = [("offset", "1"), ("numbytes", "2"), ("offset", "9"), ("numbytes", "0")]
            .map(|(key, value)| record(&format!("GNU.sparse.{key}"), value))
            .concat();
        let newer = record("GNU.sparse.map", "1,2,9,0");
        for records in [old, newer] {
            assert_eq!(Pax::parse(&records).unwrap().sparse.unwrap().map, chunks);
        }
        let newest = [record("GNU.sparse.major", "1"), record("GNU.sparse.name", "x")].concat();
        let pax = Pax::parse(&newest).unwrap();
        assert!(pax.sparse.unwrap().map_in_data && pax.path.unwrap() == b"x");
    }

    #[test]
    fn damaged_records_are_none() {
        for records in ["9 a=b\n", "x a=b\n", "6 a=b ", "5 ab\n", "11 size=-1\n", "0 a=b\n"] {
            assert_eq!(Pax::parse(records.as_bytes()), None, "{records:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&bytes);
        }
    }
}
