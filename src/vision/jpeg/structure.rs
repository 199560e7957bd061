//! The structure of a JPEG: its segments and scans, read without decoding a pixel.
//!
//! The decoder handles well-formed files. This adds what it does not report: the first EXIF block,
//! unsupported kinds of JPEG, and whether a file without an end marker has all of its data.

use std::{borrow::Cow, ops::Range};

use memchr::memchr;

use crate::vision::error::DecodeError;

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// Bytes of a frame header before its components, the marker included.
pub(super) const FRAME_HEAD: usize = 10;
/// Coefficients of a block.
const COEFFICIENTS: usize = 64;

/// The markers used here (ITU-T T.81, table B.1).
mod marker {
    pub(super) const SOI: u8 = 0xD8;
    pub(super) const EOI: u8 = 0xD9;
    pub(super) const SOS: u8 = 0xDA;
    pub(super) const DQT: u8 = 0xDB;
    pub(super) const DRI: u8 = 0xDD;
    pub(super) const DHT: u8 = 0xC4;
    pub(super) const JPG: u8 = 0xC8;
    pub(super) const DAC: u8 = 0xCC;
    pub(super) const APP1: u8 = 0xE1;
    pub(super) const JPEG_LS: u8 = 0xF7;
}

/// The end marker.
const END: [u8; 2] = [0xFF, marker::EOI];

/// A component as the frame header declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Horizontal and vertical sampling factor, 1 to 4.
    pub(super) sampling: (u8, u8),
    pub(super) quantization_table: u8,
}

/// The frame header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// The marker: SOF0 to SOF15, or that of JPEG-LS.
    pub(super) marker: u8,
    precision: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: Vec<Component>,
}

impl Frame {
    fn parse(marker: u8, payload: &[u8]) -> Option<Self> {
        let (&[precision, h0, h1, w0, w1, count], rest) = payload.split_first_chunk::<6>()?;
        let components = rest.get(..3 * usize::from(count))?.chunks_exact(3);
        let components = components
            .map(|it| Component {
                id: it[0],
                sampling: (it[1] >> 4, it[1] & 15),
                quantization_table: it[2],
            })
            .collect();
        let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
        Some(Self { marker, precision, width, height, components })
    }

    pub(super) fn is_progressive(&self) -> bool {
        matches!(self.marker, 0xC2 | 0xCA)
    }

    /// Whether no scan can follow `scans`: the first of a sequential file is the last if it has all
    /// of the components.
    fn is_all_in(&self, scans: &[Scan]) -> bool {
        !self.is_progressive()
            && scans.first().is_some_and(|first| first.components.len() >= self.components.len())
    }

    fn is_arithmetic(&self) -> bool {
        self.marker > marker::JPG
    }

    /// The largest sampling factors of any component: pixels per sample in each direction are
    /// these, divided by a component's own.
    pub(super) fn largest_sampling(&self) -> (u8, u8) {
        let factors = self.components.iter().map(|it| it.sampling);
        factors.fold((1, 1), |most, it| (most.0.max(it.0), most.1.max(it.1)))
    }

    /// The kind of JPEG that the decoder does not support, by its name in the standards.
    fn unsupported(&self) -> Option<&'static str> {
        match (self.marker, self.precision) {
            (0xC3 | 0xCB, _) => Some("lossless JPEG"),
            (0xC5..=0xC7 | 0xCD..=0xCF, _) => Some("hierarchical JPEG"),
            (marker::JPEG_LS, _) => Some("JPEG-LS"),
            (_, 8) => None,
            (_, 12) => Some("12-bit JPEG"),
            _ => Some("JPEG with other than 8 bits per sample"),
        }
    }
}

/// One scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Ids of its components.
    pub(super) components: Vec<u8>,
    /// Coefficients it has, in zigzag order.
    band: Range<usize>,
    /// Lowest bit of a coefficient that it leaves to later scans.
    low_bit: u8,
    /// Its header and data in the file, from the SOS marker on.
    pub(super) bytes: Range<usize>,
}

impl Scan {
    fn parse(payload: &[u8], start: usize) -> Option<Self> {
        let count = usize::from(*payload.first()?);
        let components = payload.get(1..)?.get(..2 * count)?.chunks_exact(2).map(|it| it[0]);
        let &[first, last, bits] = payload.get(1 + 2 * count..)?.first_chunk()?;
        let end = usize::from(last) + 1;
        Some(Self {
            components: components.collect(),
            band: usize::from(first).min(COEFFICIENTS)..end.min(COEFFICIENTS),
            low_bit: bits & 15,
            bytes: start..start,
        })
    }
}

/// A JPEG's segments and scans.
#[derive(Debug)]
pub(super) struct Structure<'a> {
    bytes: &'a [u8],
    pub(super) frame: Frame,
    /// Where the frame header's marker is.
    pub(super) frame_start: usize,
    pub(super) scans: Vec<Scan>,
    /// Segments of tables (DQT, DHT, DRI, DAC), markers included.
    pub(super) tables: Vec<Range<usize>>,
    /// The first EXIF block, a TIFF structure.
    pub(super) exif: Option<&'a [u8]>,
    /// The first XMP packet.
    pub(super) xmp: Option<&'a [u8]>,
    ended: bool,
}

const TRUNCATED: &str = "the file is truncated";

impl<'a> Structure<'a> {
    /// Follows the markers of a file that begins with SOI.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut walk = Walk { bytes, at: 2 };
        let mut frame: Option<Frame> = None;
        let mut frame_start = 0;
        let (mut scans, mut tables): (Vec<Scan>, _) = (Vec::new(), Vec::new());
        let (mut exif, mut xmp, mut ended) = (None, None, false);
        while let Some(Segment { marker, start, payload }) = walk.next()? {
            if let Some(scan) = scans.last_mut() {
                scan.bytes.end = scan.bytes.end.max(start);
            }
            match marker {
                marker::EOI => {
                    ended = true;
                    break;
                }
                marker::SOS => {
                    let scan = Scan::parse(payload, start);
                    let scan = scan.ok_or_else(|| DecodeError::corrupt("a scan has no header"))?;
                    scans.push(scan);
                    // Most files are these; following their data costs a twentieth of decoding them.
                    if bytes.ends_with(&END)
                        && frame.as_ref().is_some_and(|it| it.is_all_in(&scans))
                    {
                        walk.at = walk.at.max(bytes.len() - END.len());
                    }
                }
                marker::DQT | marker::DHT | marker::DRI | marker::DAC => {
                    tables.push(start..walk.at);
                }
                0xC0..=0xCF | marker::JPEG_LS if marker != marker::JPG && frame.is_none() => {
                    frame = Frame::parse(marker, payload);
                    frame_start = start;
                }
                marker::APP1 => {
                    exif = exif.or_else(|| payload.strip_prefix(EXIF));
                    xmp = xmp.or_else(|| payload.strip_prefix(XMP));
                }
                _ => {}
            }
        }
        if let Some(scan) = scans.last_mut().filter(|_| !ended) {
            scan.bytes.end = bytes.len();
        }
        let frame = frame.ok_or_else(|| {
            DecodeError::corrupt(if ended { "it has no frame header" } else { TRUNCATED })
        })?;
        if let Some(name) = frame.unsupported() {
            return Err(DecodeError::UnsupportedFormat(name));
        }
        if (1..frame.components.len()).any(|index| {
            let (before, it) = frame.components.split_at(index);
            before.iter().any(|other| other.id == it[0].id)
        }) {
            return Err(DecodeError::corrupt("two components have the same id"));
        }
        Ok(Self { bytes, frame, frame_start, scans, tables, exif, xmp, ended })
    }

    /// The file with an end marker. A file may lack it and still be whole; whether the last scan
    /// is, the decoder notices.
    ///
    /// # Errors
    /// A scan is missing.
    pub(super) fn complete(&self) -> Result<Cow<'a, [u8]>, DecodeError> {
        if self.ended {
            return if self.covers(|low_bits| low_bits[0].is_some()) {
                Ok(Cow::Borrowed(self.bytes))
            } else {
                Err(DecodeError::corrupt("the data of a colour component is missing"))
            };
        }
        // Nothing in an arithmetic-coded scan gives its expected length.
        let is_whole = !self.frame.is_arithmetic()
            && self.covers(|low_bits| low_bits.iter().all(|bit| *bit == Some(0)));
        if !is_whole {
            return Err(DecodeError::corrupt(TRUNCATED));
        }
        Ok(Cow::Owned([self.bytes, &END].concat()))
    }

    /// Whether what the scans have of each component satisfies `enough`: for each coefficient, the
    /// lowest bit that a scan has of it.
    fn covers(&self, enough: impl Fn(&[Option<u8>; COEFFICIENTS]) -> bool) -> bool {
        self.frame.components.iter().all(|component| {
            let mut low_bits = [None; COEFFICIENTS];
            for scan in self.scans.iter().filter(|scan| scan.components.contains(&component.id)) {
                if self.frame.is_progressive() {
                    let band = low_bits.get_mut(scan.band.clone());
                    band.unwrap_or_default().fill(Some(scan.low_bit));
                } else {
                    low_bits.fill(Some(0));
                }
            }
            enough(&low_bits)
        })
    }

    /// Whether a sequential file has a scan of several components, but not of all.
    pub(super) fn has_partly_interleaved_scan(&self) -> bool {
        let of_all = self.frame.components.len();
        !self.frame.is_progressive()
            && self.scans.iter().any(|scan| (2..of_all).contains(&scan.components.len()))
    }

    /// The bytes in `range`.
    pub(super) fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        let end = range.end.min(self.bytes.len());
        self.bytes.get(range.start..end).unwrap_or_default()
    }
}

/// Goes from segment to segment, over the data of scans and over stray bytes.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Segment<'a> {
    marker: u8,
    /// Where the marker begins.
    start: usize,
    /// What follows the length; empty for EOI.
    payload: &'a [u8],
}

impl<'a> Walk<'a> {
    /// `None` at the end of the bytes.
    fn next(&mut self) -> Result<Option<Segment<'a>>, DecodeError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(stray) = memchr(0xFF, rest) else { return Ok(None) };
            // Any number of fill bytes may precede the marker's own.
            let fill = rest[stray..].iter().take_while(|&&byte| byte == 0xFF).count();
            let Some(&marker) = rest.get(stray + fill) else { return Ok(None) };
            let start = self.at + stray + fill - 1;
            self.at = start + 2;
            match marker {
                // Stuffed zeros, TEM, restart markers and a second SOI have no length.
                0x00 | 0x01 | 0xD0..=0xD7 | marker::SOI => {}
                marker::EOI => return Ok(Some(Segment { marker, start, payload: &[] })),
                _ => {
                    let truncated = || DecodeError::corrupt(TRUNCATED);
                    let rest = &self.bytes[self.at..];
                    let length = rest.first_chunk().ok_or_else(truncated)?;
                    let length = usize::from(u16::from_be_bytes(*length)).max(2);
                    self.at += length;
                    let payload = rest.get(2..length).ok_or_else(truncated)?;
                    return Ok(Some(Segment { marker, start, payload }));
                }
            }
        }
    }
}
