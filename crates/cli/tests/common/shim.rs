//! A library, preloaded into the binary, that records what makes files durable and lets calls fail.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The library, built once a test program by the C compiler that links Rust programs, too.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/shim.c");
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("shim-{}.so", std::process::id()));
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status();
        assert!(built.expect("a C compiler").success());
        library
    })
}

/// Preloads the library into a command.
pub fn preload(command: &mut Command) -> &mut Command {
    command.env("LD_PRELOAD", library())
}
