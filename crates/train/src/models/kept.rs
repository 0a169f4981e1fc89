//! Files of a model that training leaves as they are.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rappel_files::replace;
use rappel_hub::MODEL_FILES;

use crate::TrainError;

/// A file that is written again as it was.
#[derive(Debug)]
pub(super) struct KeptFile {
    name: &'static str,
    bytes: Vec<u8>,
}

impl KeptFile {
    /// Those of a folder. A GGUF file has none.
    pub fn all(folder: &Path) -> Result<Vec<Self>, TrainError> {
        let mut all = Vec::new();
        for name in MODEL_FILES {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => all.push(Self { name, bytes }),
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(TrainError::io("read", &path)(error)),
            }
        }
        Ok(all)
    }

    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        Ok(replace(&folder.join(self.name), |out| out.write_all(&self.bytes))?)
    }
}
