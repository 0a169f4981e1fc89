#![forbid(unsafe_code)]
//! Models of the Hugging Face Hub, in the cache that its own library keeps.
//!
//! `org/name`, `org/name@revision` and `org/name@revision/file.gguf` name a model. `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
//! `HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what they mean there.

mod cache;
mod client;
mod error;
mod reference;

use std::fmt;
use std::path::PathBuf;

use cache::Cache;
pub use cache::Progress;
use client::Client;
pub use error::HubError;
pub use reference::{MODEL_FILES, Reference};

/// The hub: where it is, and where its files are kept.
pub struct Hub {
    cache: Cache,
    client: Option<Client>,
}

impl fmt::Debug for Hub {
    /// Without the token, which is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("offline", &self.client.is_none()).finish_non_exhaustive()
    }
}

impl Hub {
    /// The hub that the environment names.
    pub fn from_env() -> Self {
        Self::with(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// The hub that these variables name.
    pub fn with(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let home = variable("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
            let cache = cache.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
            Some(cache?.join("huggingface"))
        });
        let home = home.unwrap_or_else(|| PathBuf::from(".huggingface"));
        let folder = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let is_on = |value: String| {
            ["1", "on", "true", "yes"].contains(&value.to_ascii_lowercase().as_str())
        };
        let offline = variable("HF_HUB_OFFLINE").is_some_and(is_on);
        let token =
            variable("HF_TOKEN").or_else(|| std::fs::read_to_string(home.join("token")).ok());
        let endpoint = variable("HF_ENDPOINT");
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".to_owned());
        let client = (!offline).then(|| {
            let token =
                token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
            Client::new(endpoint.trim_end_matches('/').to_owned(), token)
        });
        Self { cache: Cache::new(folder), client }
    }

    /// The folder, or the file, of a model: what the cache lacks is downloaded, each file checked and only then put in
    /// place. A download that was interrupted continues where it ended.
    ///
    /// # Errors
    /// [`HubError`]: a model or a file that is not there, access that is refused, a hub that cannot be reached or sends
    /// other bytes than it says.
    pub fn model(
        &self,
        reference: &Reference,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let Some(client) = &self.client else { return self.cache.offline(reference) };
        if let Some(found) = self.cache.pinned(reference) {
            return Ok(found);
        }
        let listing = client.listing(reference)?;
        let place = self.cache.place(reference, &listing.commit);
        let _lock = place.lock()?;
        for file in reference.wanted(&listing.files)? {
            place.fetch(client, reference, &listing.commit, file, progress)?;
        }
        place.finish(reference)
    }
}
