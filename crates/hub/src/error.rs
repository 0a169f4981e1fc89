//! What can go wrong with a download.

use rappel_files::FileError;

/// Why a model could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The hub did not answer.
    #[error(
        "cannot reach {url}: {reason}; check the connection, or HF_ENDPOINT; HF_HUB_OFFLINE=1 uses what is in the cache"
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        reason: String,
    },
    /// No access.
    #[error(
        "{model}: access is refused ({status}); set HF_TOKEN to a token that may read it, and accept its terms on its page"
    )]
    Refused {
        /// The model.
        model: String,
        /// The status.
        status: u16,
    },
    /// No such model, revision or file.
    #[error("{url}: there is no such model, revision or file")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The hub answers with an error.
    #[error("{url}: the hub answers with status {status}; try again later")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The model lacks a file.
    #[error("{model} has no {file}{}", others(there))]
    NoFile {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// GGUF files that it has.
        there: Vec<String>,
    },
    /// What came is not what the hub said would come.
    #[error("{file}: {reason}; the download begins again when it is tried again")]
    Damaged {
        /// The file.
        file: String,
        /// How they differ.
        reason: String,
    },
    /// An answer that is not of the form expected.
    #[error("{url}: {reason}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cache lacks it, and nothing may be downloaded.
    #[error("{model} is not in the cache {folder}, and HF_HUB_OFFLINE is set; unset it once")]
    Offline {
        /// The model.
        model: String,
        /// The cache.
        folder: String,
    },
    /// Another process downloads the same model.
    #[error("{model} is being downloaded by {holder}; wait for its end")]
    Busy {
        /// The folder.
        model: String,
        /// The process.
        holder: String,
    },
    /// The cache could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn others(there: &[String]) -> String {
    const MOST: usize = 5;
    match there {
        [] => String::new(),
        files => {
            let shown = &files[..files.len().min(MOST)];
            format!("; name one of its GGUF files after a slash: {}", shown.join(", "))
        }
    }
}
