//! Pages of a column, those that are compressed by zstd included.
//!
//! The Parquet reader decompresses zstd by a library in C only, and takes no other. But it hands out
//! the pages of a column that says it is not compressed as they are: so it is told that, and the pages
//! are decompressed here, in Rust.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

/// The pages of a column of a row group.
pub(crate) fn pages(
    file: &Arc<File>,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> Result<Box<dyn PageReader>> {
    let read = |chunk: &ColumnChunkMetaData| {
        SerializedPageReader::new(Arc::clone(file), chunk, rows, None)
    };
    if !matches!(chunk.compression(), Compression::ZSTD(_)) {
        return Ok(Box::new(read(chunk)?));
    }
    let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
    let left = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
    Ok(Box::new(Zstd { inner: read(&plain)?, left }))
}

struct Zstd {
    inner: SerializedPageReader<File>,
    /// The bytes that the pages still to come may have, as the file says.
    left: u64,
}

impl Zstd {
    fn decompress(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let wrong =
            |reason: &dyn std::fmt::Display| ParquetError::General(format!("zstd: {reason}"));
        let mut plain = Vec::new();
        let decoder =
            ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|error| wrong(&error))?;
        decoder.take(self.left + 1).read_to_end(&mut plain).map_err(|error| wrong(&error))?;
        let more = || wrong(&"a page holds more bytes than its column has");
        self.left = self.left.checked_sub(plain.len() as u64).ok_or_else(more)?;
        Ok(plain)
    }

    fn plain(&mut self, mut page: Page) -> Result<Page> {
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = self.decompress(buf)?.into();
            }
            Page::DataPageV2 {
                buf,
                is_compressed,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                // The levels come first, and are not compressed.
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                let (levels, values) = buf.split_at_checked(levels).ok_or_else(|| {
                    ParquetError::General("a page is shorter than its levels".to_owned())
                })?;
                if *is_compressed && !values.is_empty() {
                    let values = self.decompress(values)?;
                    *buf = [levels, &values].concat().into();
                }
            }
        }
        Ok(page)
    }
}

impl Iterator for Zstd {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Zstd {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.map(|page| self.plain(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
