//! Encoders' architectures: a file each, named as Hugging Face's `model_type`.
//!
//! Adding one is a file with its `ENTRY` and a line in [`ENCODERS`], as with
//! [`ARCHITECTURES`](crate::ARCHITECTURES).

mod bert;
mod distilbert;
mod modernbert;
mod roberta;
mod xlm_roberta;

use rappel_config::{Entry, Registry, no_more};

use crate::encoder::EncoderArchitecture;

pub use bert::BertConfig;
pub use distilbert::DistilBertConfig;
pub use modernbert::{ClassifierPooling, ModernBertConfig};
pub use roberta::RobertaConfig;
pub use xlm_roberta::XlmRobertaConfig;

/// Every encoder of texts.
pub static ENCODERS: Registry<EncoderArchitecture> =
    Registry { kind: "encoder", common: &[], entries: ENTRIES, more: no_more };

const ENTRIES: &[Entry<EncoderArchitecture>] =
    &[bert::ENTRY, distilbert::ENTRY, modernbert::ENTRY, roberta::ENTRY, xlm_roberta::ENTRY];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&ENCODERS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/encoders");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &ENCODERS.names());
    }
}
