//! Files as memory.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

/// A file's bytes, mapped for reading: they are read from disk as they are used.
///
/// Who changes the file meanwhile changes the bytes.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps a file whole.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: whoever changes a file while it is being read gets garbage numbers, as with any
        // reader; no invariant of this program rests on the bytes staying the same.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map })
    }

    /// Tells the system that the bytes of a range will hardly be read again, so that they take no memory; reading them
    /// again is right, and slower.
    pub fn release(&self, range: Range<usize>) {
        // Whole pages inside of the range; a page is never larger than this where the program runs.
        const PAGE: usize = 1 << 16;
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if start < end && end <= self.map.len() {
            // SAFETY: the mapping is private, read-only and of a file: pages that are dropped come back from the file
            // with the bytes that they had.
            let dropped = unsafe {
                self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start)
            };
            // Advice that is not taken costs memory and nothing else.
            drop(dropped);
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
