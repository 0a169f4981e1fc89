#!/usr/bin/env bash
# All that a GPU can tell of rappel in one call of about five minutes, on a machine with the driver, NVRTC and cuBLASLt
# (docs/gpu.md), without cargo: bash bench/gpu.sh [path of the binary] [folder for results].
# Build the binary elsewhere: cargo build --release; it needs a glibc no newer than its builder's.
set -uo pipefail
rappel=$(realpath "${1:-target/release/rappel}")
out=${2:-gpu-results}
mkdir -p "$out"
out=$(realpath "$out")
# PyPI's libraries lie in no loader's path.
if [ -z "${RAPPEL_CUDA_PATH:-}" ]; then
    RAPPEL_CUDA_PATH=$(python3 -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null) && export RAPPEL_CUDA_PATH
fi
failed=0
step() { # name, seconds at most, command
    local name=$1 limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" >"$out/$name.txt" 2>"$out/$name.err"
    local code=$?
    tail -n 25 "$out/$name.txt"
    [ $code = 0 ] || { echo "$name ended with $code:"; tail -n 5 "$out/$name.err"; failed=1; }
}

step devices 20 "$rappel" devices
step selftest 180 "$rappel" selftest --device cuda:0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
seq 1 400000 | awk '{ print "let x" $1 " = " $1 * $1 % 97 " + " $1 % 13 ";" }' >corpus.txt
cat >gpt.toml <<'CONFIG'
device = "cuda:0"
[data]
files = ["corpus.txt"]
sequence_length = 1024
validation_fraction = 0.001
[model]
name = "gpt2"
dtype = "bfloat16"
n_layer = 12
n_head = 12
n_embd = 768
n_positions = 1024
[optimizer]
name = "adamw"
lr = 6e-4
[train]
steps = 20
batch_size = 8
log_every = 1
[checkpoint]
every = 1000
CONFIG
# A GPT-2 of 124M parameters without a word list: tokens a second, and where the time goes.
step gpt2 90 "$rappel" train gpt.toml --out gpt2 --profile
# The same bits twice, from a short run of the same.
for run in a b; do
    step "bits-$run" 60 "$rappel" train gpt.toml --out "$run" --set train.steps=3
done
if cmp -s a/model/model.safetensors b/model/model.safetensors; then
    echo "two runs: the same bits"
else
    echo "two runs: OTHER BITS"
    failed=1
fi
# Nothing may fall back in a GPT-2's step.
RAPPEL_CUDA_STRICT=1 step strict 60 "$rappel" train gpt.toml --out strict --set train.steps=2
exit $failed
