//! A file's bytes as text. As Python reads text: a byte order mark is no part of it, and CRLF and CR are line feeds.
//! What is not text is refused by the name of what it is.

use std::borrow::Cow;

use super::formats::Document;
use crate::error::{Error, Result};

/// How binary files begin that are often taken for text, what they are, and what makes text of them. A file that is
/// clean UTF-8 is none of them, however it begins.
const BINARY: &[(&[u8], &str, &str)] = &[
    (b"PAR1", "a Parquet file", TO_JSON_LINES),
    (b"ARROW1", "an Arrow file", TO_JSON_LINES),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"\x1f\x8b", "compressed with gzip", UNPACK),
    (b"BZh", "compressed with bzip2", UNPACK),
    (b"\xfd7zXZ\0", "compressed with xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Microsoft Office", SAVE_AS_TEXT),
    (b"\x89PNG", "a picture (PNG)", WRITE_WORDS),
    (b"\xff\xd8\xff", "a picture (JPEG)", WRITE_WORDS),
    (b"GIF8", "a picture (GIF)", WRITE_WORDS),
    (b"RIFF", "a picture, a sound or a film (RIFF)", WRITE_WORDS),
    (b"ID3", "a sound (MP3)", WRITE_WORDS),
    (b"OggS", "a sound or a film (Ogg)", WRITE_WORDS),
    (b"\xff\xfe\0\0", "UTF-32 text", SAVE_AS_UTF8),
    (b"\0\0\xfe\xff", "UTF-32 text", SAVE_AS_UTF8),
];
/// The same for files that may be clean UTF-8, and still are no text that anybody wants to learn.
const MARKED_UP: &[(&[u8], &str, &str)] =
    &[(b"%PDF-", "a PDF", COPY_TEXT), (b"{\\rtf", "rich text (RTF)", SAVE_AS_TEXT)];
const TO_JSON_LINES: &str = "convert it to JSON Lines, for example with pandas: \
                             `read_parquet(…).to_json(\"data.jsonl\", orient=\"records\", lines=True)`";
const UNPACK: &str = "unpack it and use the files in it";
const COPY_TEXT: &str = "open it, copy its text and paste that, or put it into a .txt file";
const WRITE_WORDS: &str = "the model learns from words only; write those that are in it into a .txt file";
const SAVE_AS_TEXT: &str = "open it and save it as plain text (.txt), or copy its text and paste that";
const SAVE_AS_UTF8: &str = "save it as UTF-8";

/// Both kinds of office documents are ZIP archives, which name their members uncompressed.
const IN_ZIP: &[(&[u8], &str, &str)] = &[
    (b"xl/workbook.xml", "an Excel workbook", "save the sheet as CSV"),
    (b"word/document.xml", "a Word document", SAVE_AS_TEXT),
    (b"mimetypeapplication/vnd.oasis.opendocument", "an OpenDocument file", SAVE_AS_TEXT),
];

impl Document {
    /// Errors: `NotText`, `TextNotUtf8`.
    pub(super) fn text(&self) -> Result<Cow<'_, str>> {
        let bytes = self.bytes.as_slice();
        let is_clean = std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0);
        let mut others = MARKED_UP.iter().chain(if is_clean { &[] } else { BINARY });
        if let Some((_, found, advice)) = others.find(|(begin, _, _)| bytes.starts_with(begin)) {
            return Err(self.not_text(found, advice));
        }
        if matches!(bytes, [_, _, _, _, b'f', b't', b'y', b'p', ..]) && !is_clean {
            return Err(self.not_text("a film, a sound or a picture (MP4, HEIC)", WRITE_WORDS));
        }
        if bytes.starts_with(b"PK\x03\x04") {
            let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
            let office = IN_ZIP.iter().find(|(name, _, _)| has(name));
            let (found, advice) = office.map_or(("a ZIP archive", UNPACK), |(_, found, advice)| (*found, *advice));
            return Err(self.not_text(found, advice));
        }
        let text: Cow<str> = match bytes {
            [0xff, 0xfe, rest @ ..] => Cow::Owned(self.utf16(rest, u16::from_le_bytes)?),
            [0xfe, 0xff, rest @ ..] => Cow::Owned(self.utf16(rest, u16::from_be_bytes)?),
            _ => Cow::Borrowed(self.utf8()?),
        };
        Ok(if text.contains('\r') { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text })
    }

    fn utf8(&self) -> Result<&str> {
        let bytes = self.bytes.as_slice();
        if bytes.contains(&0) {
            // Half of the bytes of Western text in UTF-16 are zero.
            let zeros = |first: usize| bytes.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
            let half = bytes.len().div_ceil(2);
            let is_utf16 = [zeros(0), zeros(1)].iter().any(|zeros| zeros.saturating_mul(4) > half.saturating_mul(3));
            return Err(match is_utf16 {
                true => self.not_text("UTF-16 text without a byte order mark", SAVE_AS_UTF8),
                false => self.not_text("binary data (it has zero bytes)", "use a text file"),
            });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Error::TextNotUtf8 { name: self.name.clone(), offset: e.valid_up_to() })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// What follows the byte order mark.
    fn utf16(&self, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
        let (units, rest) = bytes.as_chunks::<2>();
        let text: Result<String, _> = char::decode_utf16(units.iter().map(|bytes| unit(*bytes))).collect();
        match text {
            Ok(text) if rest.is_empty() => Ok(text),
            _ => Err(self.not_text("UTF-16 text that is damaged", SAVE_AS_UTF8)),
        }
    }

    fn not_text(&self, found: &str, advice: &str) -> Error {
        Error::NotText { name: self.name.clone(), found: found.to_owned(), advice: advice.to_owned() }
    }
}
