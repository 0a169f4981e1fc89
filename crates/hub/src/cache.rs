//! The cache, laid out as the hub's own library has it: contents by their hash, and names that link to them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rappel_files::{
    FileError, Lock, LockError, move_over, parent, remove, replace, sha256_of_file,
};

use crate::client::{Client, Opened, TRIES, is_hexadecimal};
use crate::error::HubError;
use crate::reference::Reference;

/// How far a download is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

pub(crate) struct Cache {
    folder: PathBuf,
}

/// Where a commit of a model is kept.
pub(crate) struct Place {
    model: PathBuf,
    snapshot: PathBuf,
    commit: String,
}

impl Cache {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn of(&self, reference: &Reference) -> PathBuf {
        self.folder.join(format!("models--{}", reference.repository.replace('/', "--")))
    }

    pub fn place(&self, reference: &Reference, commit: &str) -> Place {
        let model = self.of(reference);
        let snapshot = model.join("snapshots").join(commit);
        Place { model, snapshot, commit: commit.to_owned() }
    }

    /// A commit that is named by its hash and was downloaded whole needs no hub.
    pub fn pinned(&self, reference: &Reference) -> Option<PathBuf> {
        if !is_hexadecimal(&reference.revision, 40) {
            return None;
        }
        self.place(reference, &reference.revision).found(reference)
    }

    /// What is there, without the hub.
    pub fn offline(&self, reference: &Reference) -> Result<PathBuf, HubError> {
        let named = self.of(reference).join("refs").join(&reference.revision);
        let commit = fs::read_to_string(named).map(|commit| commit.trim().to_owned());
        let commit = commit.ok().filter(|commit| is_hexadecimal(commit, 40));
        let commit = commit.unwrap_or_else(|| reference.revision.clone());
        self.place(reference, &commit).found(reference).ok_or_else(|| HubError::Offline {
            model: reference.to_string(),
            folder: self.folder.display().to_string(),
        })
    }
}

impl Place {
    /// Keeps other processes from writing the same files.
    pub fn lock(&self) -> Result<Option<Lock>, HubError> {
        fs::create_dir_all(&self.model).map_err(FileError::new("create", &self.model))?;
        match Lock::take(&self.model.join(".rappel.lock")) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held(holder)) => Err(HubError::Busy {
                model: self.model.display().to_string(),
                holder: holder.to_string(),
            }),
            Err(LockError::Unsupported) => Ok(None),
            Err(LockError::File(error)) => Err(error.into()),
        }
    }

    fn found(&self, reference: &Reference) -> Option<PathBuf> {
        if let Some(file) = &reference.file {
            return Some(self.snapshot.join(file)).filter(|path| path.exists());
        }
        // Weights come last: a model that has them has the rest.
        let there = |name: &str| self.snapshot.join(name).exists();
        let is_whole = there("config.json")
            && (there("model.safetensors") || there("model.safetensors.index.json"));
        is_whole.then(|| self.snapshot.clone())
    }

    /// Brings a file here, if it is not yet.
    pub fn fetch(
        &self,
        client: &Client,
        reference: &Reference,
        commit: &str,
        file: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), HubError> {
        let name = self.snapshot.join(file);
        if name.exists() {
            return Ok(());
        }
        let url = client.url(reference, commit, file);
        let blobs = self.model.join("blobs");
        fs::create_dir_all(&blobs).map_err(FileError::new("create", &blobs))?;
        let mut tried = 0;
        let etag = loop {
            match download(client, &url, reference, file, &blobs, progress) {
                // What was cut off continues where it ended.
                Err(HubError::Damaged { .. } | HubError::Unreachable { .. })
                    if tried + 1 < TRIES =>
                {
                    tried += 1;
                }
                result => break result?,
            }
        };
        self.link(&name, &blobs, &etag)
    }

    /// Gives a content its name in the snapshot.
    fn link(&self, name: &Path, blobs: &Path, etag: &str) -> Result<(), HubError> {
        let folder = parent(name);
        fs::create_dir_all(folder).map_err(FileError::new("create", folder))?;
        #[cfg(unix)]
        {
            let _ = blobs;
            let depth =
                folder.strip_prefix(&self.model).map_or(2, |path| path.components().count());
            let target = "../".repeat(depth) + "blobs/" + etag;
            std::os::unix::fs::symlink(target, name).map_err(FileError::new("link", name))?;
        }
        #[cfg(not(unix))]
        fs::copy(blobs.join(etag), name).map_err(FileError::new("write", name))?;
        Ok(())
    }

    /// Notes which commit the revision is, and says where the model is.
    pub fn finish(&self, reference: &Reference) -> Result<PathBuf, HubError> {
        if !is_hexadecimal(&reference.revision, 40) {
            let refs = self.model.join("refs");
            fs::create_dir_all(&refs).map_err(FileError::new("create", &refs))?;
            replace(&refs.join(&reference.revision), |out| out.write_all(self.commit.as_bytes()))?;
        }
        Ok(match &reference.file {
            Some(file) => self.snapshot.join(file),
            None => self.snapshot.clone(),
        })
    }
}

/// The name of the content, once it is in the folder of contents, checked.
fn download(
    client: &Client,
    url: &str,
    reference: &Reference,
    file: &str,
    blobs: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<String, HubError> {
    let partial = |etag: &str| blobs.join(format!("{etag}.incomplete"));
    let have = |etag: &str| fs::metadata(partial(etag)).map_or(0, |found| found.len());
    let Opened { etag, size, from, mut body } = client.open(url, reference, &have)?;
    let (blob, partial) = (blobs.join(&etag), partial(&etag));
    if blob.exists() {
        return Ok(etag);
    }
    let io = |action| FileError::new(action, &partial);
    let mut out = OpenOptions::new();
    let out = out.create(true).write(true).append(from > 0).truncate(from == 0);
    let mut out = out.open(&partial).map_err(io("write"))?;
    let (mut piece, mut bytes) = (vec![0; 1 << 18], from);
    let cut = loop {
        match body.read(&mut piece) {
            Ok(0) => break None,
            Ok(n) => {
                out.write_all(&piece[..n]).map_err(io("write"))?;
                bytes += n as u64;
                progress(Progress { file, bytes, total: size.unwrap_or(bytes) });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    out.sync_all().map_err(io("write"))?;
    let damaged = |reason: String| HubError::Damaged { file: file.to_owned(), reason };
    if let Some(size) = size.filter(|size| *size != bytes) {
        if bytes > size {
            remove(&partial)?;
        }
        let why = cut.map_or(String::new(), |error| format!(" ({error})"));
        return Err(damaged(format!("{bytes} of {size} bytes came{why}")));
    }
    if let Some(error) = cut {
        return Err(damaged(error.to_string()));
    }
    if is_hexadecimal(&etag, 64) {
        let (found, _) = sha256_of_file(&partial).map_err(io("read"))?;
        if !found.eq_ignore_ascii_case(&etag) {
            remove(&partial)?;
            return Err(damaged(format!("its SHA-256 is {found}, not {etag}")));
        }
    }
    move_over(&partial, &blob)?;
    Ok(etag)
}
