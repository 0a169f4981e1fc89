#!/bin/sh
# Builds the workers, finds or makes PyTorch's environment, and runs the benchmark; arguments go to run.py.
#   PYTHON            an interpreter that has requirements.txt installed (default: bench/.venv, made if missing)
#   CARGO_TARGET_DIR  where all Rust workers are built (default: each workspace's own target)
set -eu
cd "$(dirname "$0")"

if [ -z "${PYTHON:-}" ]; then
    PYTHON=$PWD/.venv/bin/python
    if [ ! -x "$PYTHON" ]; then
        python3 -m venv .venv
        "$PYTHON" -m pip install --quiet -r requirements.txt
    fi
fi

# The peers are compiled for this very machine; ours is built as its users build it.
(cd peers && RUSTFLAGS="-C target-cpu=native" cargo build --release --locked)
if [ -f ours/Cargo.toml ]; then
    (cd ours && cargo build --release --locked)
fi
exec "$PYTHON" run.py "$@"
