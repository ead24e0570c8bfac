//! Where a checkpoint's bytes come from: a file, several files, memory, a blob or a server. Only ranges are read, so a
//! whole model is never in host memory.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use super::safetensors::{Converted, Entry, Header, to_f32};
use super::shards::Shards;
use crate::error::{Error, Result};

/// The most bytes of a matrix that are read at a time while it is transposed, except for a row that is longer.
const PIECE: u64 = 4 << 20;

type Read = Box<dyn Fn(u64, u64) -> Pin<Box<dyn Future<Output = Result<Vec<u8>>>>>>;

pub struct Source {
    /// The file's name, for messages. Of several files, that of their index.
    pub name: String,
    pub bytes: u64,
    /// The files that it is made of, if there are several.
    pub shards: Option<Rc<Shards>>,
    /// The header of a file in another form.
    known: Option<Header>,
    read: Read,
}

impl Source {
    /// `read(offset, length)` returns exactly `length` bytes or an error.
    pub fn new(name: &str, bytes: u64, read: Read) -> Source {
        Source { name: name.to_string(), bytes, shards: None, known: None, read }
    }

    /// Files one behind the other, which have so many bytes together.
    pub(super) fn of_shards(shards: Rc<Shards>, bytes: u64) -> Source {
        let (name, files) = (shards.name().to_string(), shards.clone());
        let read = move |offset: u64, length: u64| {
            let files = files.clone();
            Box::pin(async move { files.read(offset, length).await }) as Pin<Box<dyn Future<Output = _>>>
        };
        Source { name, bytes, shards: Some(shards), known: None, read: Box::new(read) }
    }

    /// Whether it is a file in another form, which was given its header.
    pub fn is_converted(&self) -> bool {
        self.known.is_some()
    }

    /// The same bytes, whose tensors are where this header says.
    pub fn with_header(self, header: Header) -> Source {
        Source { known: Some(header), ..self }
    }

    pub fn memory(name: &str, bytes: Vec<u8>) -> Source {
        let length = bytes.len() as u64;
        let read = move |offset: u64, length: u64| {
            let range = usize::try_from(offset).ok().zip(usize::try_from(offset.saturating_add(length)).ok());
            let part = range.and_then(|(from, to)| bytes.get(from..to)).map(<[u8]>::to_vec);
            let result = part
                .ok_or_else(|| Error::Io { path: "memory".to_string(), reason: "a range past its end".to_string() });
            Box::pin(std::future::ready(result)) as Pin<Box<dyn Future<Output = _>>>
        };
        Source::new(name, length, Box::new(read))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub fn file(path: &std::path::Path) -> Result<Source> {
        use std::io::{Read as _, Seek, SeekFrom};
        let shown = path.display().to_string();
        let failed =
            |shown: &str, error: std::io::Error| Error::Io { path: shown.to_string(), reason: error.to_string() };
        let file = std::fs::File::open(path).map_err(|e| failed(&shown, e))?;
        let bytes = file.metadata().map_err(|e| failed(&shown, e))?.len();
        let name = shown.clone();
        let read = move |offset: u64, length: u64| {
            let read = || {
                let mut file = &file;
                file.seek(SeekFrom::Start(offset))?;
                let mut part = vec![0; length as usize];
                file.read_exact(&mut part)?;
                Ok(part)
            };
            Box::pin(std::future::ready(read().map_err(|e| failed(&shown, e)))) as Pin<Box<dyn Future<Output = _>>>
        };
        Ok(Source::new(&name, bytes, Box::new(read)))
    }

    /// The SHA-256 of all bytes, in hexadecimal. Several files are hashed as one, in the order of their names.
    pub async fn sha256(&self) -> Result<String> {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        for offset in (0..self.bytes).step_by(4 << 20) {
            hash.update(self.read(offset, (self.bytes - offset).min(4 << 20)).await?);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads the header of a safetensors file, or those of all its files. Errors: `Safetensors`, `NotSafetensors`,
    /// `Shards`, `Io`.
    pub async fn header(&self) -> Result<Header> {
        match (&self.known, &self.shards) {
            (Some(header), _) => Ok(header.clone()),
            (None, Some(shards)) => shards.header().await,
            (None, None) => self.header_of_file().await,
        }
    }

    pub(super) async fn header_of_file(&self) -> Result<Header> {
        let first8: [u8; 8] = self.read(0, 8.min(self.bytes)).await?.try_into().map_err(|_| Error::Safetensors {
            file: self.name.clone(),
            reason: "it is shorter than 8 bytes".to_string(),
        })?;
        let length = Header::length(&first8, self.bytes, &self.name)?;
        Header::parse(&self.read(8, length).await?, self.bytes, &self.name)
    }

    /// The bytes of `count` rows of a matrix with `cols` columns, from row `first` on, in the order of the model.
    pub async fn rows(&self, entry: &Entry, cols: usize, first: usize, count: usize) -> Result<Vec<u8>> {
        let head = if let Some(Converted::Interleaved(head)) = entry.converted { Some(head) } else { None };
        // A vector whose numbers change places is a column.
        let is_column = entry.shape.len() == 1 && head.is_some();
        let (cols, first, count) = if is_column { (1, first * cols, count * cols) } else { (cols, first, count) };
        let range = |row: usize, rows: usize| entry.range(row as u64 * cols as u64, rows as u64 * cols as u64);
        let Some(head) = head else {
            let (at, length) = range(first, count);
            return self.read(at, length).await;
        };
        // Whole heads are read, because a head's rows change places with each other.
        let (from, to) = (first / head * head, (first + count).next_multiple_of(head));
        let (at, length) = range(from, to - from);
        let (stored, row_bytes) = (self.read(at, length).await?, range(0, 1).1 as usize);
        let rows = (first..first + count)
            .flat_map(|row| &stored[(interleaved_row(row, head) - from) * row_bytes..][..row_bytes]);
        Ok(rows.copied().collect())
    }

    /// `count` columns of a [rows, cols] matrix, from column `first` on, each as a row. The whole matrix is read for
    /// them.
    pub async fn columns(
        &self,
        entry: &Entry,
        [rows, cols]: [usize; 2],
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>> {
        let (_, row_bytes) = entry.range(0, cols as u64);
        let rows_per_piece = (PIECE / row_bytes.max(1)).max(1) as usize;
        let (mut columns, mut values) = (vec![0.0; count * rows], Vec::new());
        for row in (0..rows).step_by(rows_per_piece) {
            let bytes = self.rows(entry, cols, row, rows_per_piece.min(rows - row)).await?;
            values.clear();
            to_f32(entry.dtype, &bytes, &mut values);
            for (row, found) in (row..).zip(values.chunks(cols)) {
                for (column, value) in columns.chunks_mut(rows).zip(&found[first..]) {
                    column[row] = *value;
                }
            }
        }
        Ok(columns)
    }

    pub async fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        if offset.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(Error::Safetensors {
                file: self.name.clone(),
                reason: "it ends before its data is complete".to_string(),
            });
        }
        let part = (self.read)(offset, length).await?;
        if part.len() as u64 != length {
            return Err(Error::Io {
                path: self.name.clone(),
                reason: format!("expected {length} bytes, but read {}", part.len()),
            });
        }
        Ok(part)
    }
}

/// Where a row is in a file in which, of each run of `head` rows, those of the first half and of the second take turns.
pub fn interleaved_row(row: usize, head: usize) -> usize {
    let (half, place) = (row % head / (head / 2), row % head % (head / 2));
    row / head * head + 2 * place + half
}
