//! The `rappel` binary.
fn main() {}
