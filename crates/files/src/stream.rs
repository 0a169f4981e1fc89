//! Writing files past the page cache, by a thread of its own.
//!
//! What a checkpoint holds is not read again soon, and where much memory is in use the system makes whoever
//! writes through its cache wait for the disk, page by page. So a file of more than a piece goes to the disk
//! directly, where the file system can, while the next piece is gathered, and summed up, by the caller.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};

/// Bytes gathered before they are written; a multiple of [`BLOCK`].
const PIECE: usize = 4 << 20;

/// Direct writes begin in memory, begin in the file and end at multiples of this: the largest block of disks.
const BLOCK: usize = 4096;

/// Pieces in use: one is gathered while the others wait or are written.
const PIECES: usize = 3;

/// Gathers what is written to a new file.
pub struct Stream<'a> {
    path: &'a Path,
    /// The file, until a thread writes it.
    file: Option<File>,
    piece: Piece,
    written: u64,
    thread: Option<Thread>,
}

impl<'a> Stream<'a> {
    /// To the empty `file`, which was opened at `path`.
    pub fn new(path: &'a Path, file: File) -> Self {
        Self { path, file: Some(file), piece: Piece::new(), written: 0, thread: None }
    }

    /// Writes what is left, and returns the file, which is not synced.
    pub fn finish(mut self) -> io::Result<File> {
        self.written += self.piece.len as u64;
        if let Some(mut file) = self.file.take() {
            file.write_all(self.piece.bytes())?;
            return Ok(file);
        }
        let Self { piece, thread, written, .. } = self;
        let file = thread.expect("who has no file has a thread").finish(piece)?;
        // The last block was written whole.
        file.set_len(written)?;
        Ok(file)
    }

    /// Hands a full piece to the thread, and takes an empty one.
    fn pass_on(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            self.thread = Some(Thread::new(self.path, file));
        }
        let thread = self.thread.as_mut().expect("who has no file has a thread");
        self.written += self.piece.len as u64;
        match thread.pass_on(&mut self.piece) {
            Some(()) => Ok(()),
            None => Err(self.thread.take().expect("it was there").failure()),
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len == PIECE {
            self.pass_on()?;
        }
        Ok(self.piece.take(bytes))
    }

    /// What is gathered is written at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that begin at a block's boundary in memory.
struct Piece {
    room: Vec<u8>,
    begin: usize,
    len: usize,
}

impl Piece {
    fn new() -> Self {
        let room = vec![0; PIECE + BLOCK];
        let begin = room.as_ptr().align_offset(BLOCK);
        // What cannot be aligned is written through the cache.
        Self { room, begin: if begin < BLOCK { begin } else { 0 }, len: 0 }
    }

    /// Takes as many bytes as there is room for.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PIECE - self.len);
        let at = self.begin + self.len;
        self.room[at..at + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
        taken
    }

    fn bytes(&self) -> &[u8] {
        &self.room[self.begin..self.begin + self.len]
    }

    /// Fills up the last block.
    fn fill_block(&mut self) {
        let whole = self.len.next_multiple_of(BLOCK);
        self.room[self.begin + self.len..self.begin + whole].fill(0);
        self.len = whole;
    }
}

/// Who writes the pieces, in their order.
struct Thread {
    full: Sender<Piece>,
    empty: Receiver<Piece>,
    handle: JoinHandle<io::Result<File>>,
}

impl Thread {
    fn new(path: &Path, file: File) -> Self {
        let ((full, pieces), (returned, empty)) = (channel::<Piece>(), channel());
        for _ in 1..PIECES {
            returned.send(Piece::new()).expect("its receiver is at hand");
        }
        let path = path.to_owned();
        let handle = spawn(move || {
            let mut out = Out::new(path, file);
            for mut piece in pieces {
                out.write(piece.bytes())?;
                piece.len = 0;
                // Nobody takes a piece after the last one.
                let _ = returned.send(piece);
            }
            Ok(out.file)
        });
        Self { full, empty, handle }
    }

    /// None where the thread has ended.
    fn pass_on(&mut self, piece: &mut Piece) -> Option<()> {
        let next = self.empty.recv().ok()?;
        self.full.send(std::mem::replace(piece, next)).ok()
    }

    fn finish(self, mut last: Piece) -> io::Result<File> {
        last.fill_block();
        // Where the thread has ended, its error is returned.
        let _ = self.full.send(last);
        drop(self.full);
        self.handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Why the thread has ended.
    fn failure(self) -> io::Error {
        drop(self.full);
        match self.handle.join() {
            Ok(ended) => ended.err().unwrap_or_else(|| ErrorKind::BrokenPipe.into()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A file that is written directly where its file system can.
struct Out {
    path: PathBuf,
    file: File,
    written: u64,
    direct: bool,
}

impl Out {
    fn new(path: PathBuf, plain: File) -> Self {
        match open_direct(&path) {
            Ok(file) => Self { path, file, written: 0, direct: true },
            Err(_) => Self { path, file: plain, written: 0, direct: false },
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            // Some file systems open such files, and refuse to write them so.
            Err(error) if self.direct && error.kind() == ErrorKind::InvalidInput => {
                self.file = OpenOptions::new().write(true).open(&self.path)?;
                self.direct = false;
                self.file.seek(SeekFrom::Start(self.written))?;
                self.file.write_all(bytes)?;
            }
            done => done?,
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)
}

/// Elsewhere there is no such flag.
#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, len: usize, step: usize) -> Vec<u8> {
        let path = folder.join(format!("{len}-{step}"));
        let content: Vec<u8> = (0..len).map(|i| (i * i % 251) as u8).collect();
        let mut stream = Stream::new(&path, File::create(&path).unwrap());
        for part in content.chunks(step) {
            stream.write_all(part).unwrap();
        }
        stream.finish().unwrap().sync_all().unwrap();
        let found = std::fs::read(&path).unwrap();
        assert!(found == content, "{len} bytes, {step} at a time");
        found
    }

    #[test]
    fn files_of_all_lengths_are_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0, 1, BLOCK, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + BLOCK, 5 * PIECE + 4097] {
            for step in [1001, PIECE + 3] {
                written(folder.path(), len, step);
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_was_opened_for_reading_is_refused_with_the_systems_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let mut stream = Stream::new(Path::new("/nowhere/file"), File::open(&path).unwrap());
        let part = vec![7; PIECE];
        let error = (0..9).find_map(|_| stream.write_all(&part).err());
        let error = error.or_else(|| stream.finish().err()).expect("the file takes no bytes");
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
