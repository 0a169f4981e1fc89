#!/bin/sh
# Makes the pictures and figures of README.md anew from runs of this very tree: sh docs/figures.sh
#   PYTHON  an interpreter that has matplotlib (default: python3)
# The text that configs/quickstart.toml learns from is that of the crates in Cargo.lock, so the figures
# change with it; docs/figures.py writes beside them which commit and lock file they belong to.
set -eu
cd "$(dirname "$0")/.."

runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
cargo build --release --locked
rappel=${CARGO_TARGET_DIR:-target}/release/rappel

"$rappel" train configs/quickstart.toml --out "$runs/quickstart" --json > "$runs/quickstart.json"
if [ "${1:-}" != "--loss" ]; then
    "$rappel" train configs/grokking.toml --out "$runs/decay"
    "$rappel" train configs/grokking.toml --out "$runs/none" --set optimizer.weight_decay=0
    "${PYTHON:-python3}" docs/grokking.py "$runs/decay" "$runs/none" docs/grokking.svg
fi
"${PYTHON:-python3}" docs/figures.py "$runs"
