//! Averages of the weights along a run: one file and one line here each.

mod ema;
mod latest;
mod swa;

use rappel_config::{Registry, no_more};

use crate::averaging::BuildAverage;
pub use ema::{Ema, Warmup};
pub use latest::Latest;
pub use swa::Swa;

/// Every average of the weights.
pub static AVERAGES: Registry<BuildAverage> = Registry {
    kind: "average",
    common: &[],
    entries: &[
        ema::ENTRY, //
        latest::ENTRY,
        swa::ENTRY,
    ],
    more: no_more,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn folder_and_registry_agree() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/averages");
        rappel_testkit::assert_folder_matches(&folder, &AVERAGES.names());
        rappel_testkit::assert_sound(&AVERAGES);
    }
}
