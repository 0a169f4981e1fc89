#!/bin/sh
# Checks and times products of bfloat16 numbers on a machine with AMX that has no compiler, in a few minutes.
#   bench/amx.sh prepare   builds what it needs into target/amx, here
#   bench/amx.sh           runs it, there; PYTHON names an interpreter that has PyTorch, for its rows
set -u
cd "$(dirname "$0")/.."
ready=target/amx

if [ "${1:-}" = prepare ]; then
    set -e
    mkdir -p $ready
    built() { sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1; }
    cp "$(cargo test --release -p rappel-tensor --lib --no-run --message-format=json | built)" $ready/tests
    cp "$(cargo bench -p rappel-tensor --bench gemm --no-run --message-format=json | built)" $ready/gemm
    (cd bench/ours && CARGO_TARGET_DIR=../../target cargo build --release)
    cp target/release/bench-rappel $ready/bench-rappel
    strip $ready/*
    exit
fi

section() { printf '\n== %s\n' "$*"; }
# Milliseconds of the fastest of three turns of a worker: `step THREADS JOB COMMAND...`.
step() {
    threads=$1 job=$2
    shift 2
    printf '1\n2\n2\n2\n' | RAYON_NUM_THREADS=$threads OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads \
        timeout 60 "$@" | awk '$1 ~ /^[0-9]/ { n++; t = n == 1 ? $1 : $1 / 2; if (n == 2 || (n > 2 && t < best)) best = t; loss = $2 }
            END { printf "%.1f ms (loss %.4f)\n", best * 1e3, loss }'
}

section "machine"
grep -m1 'model name' /proc/cpuinfo
grep -om1 -E 'amx_bf16|avx512_bf16' /proc/cpuinfo | sort -u
lscpu | grep -E '^(CPU\(s\)|Thread|Core|L2|L3)'

section "tests"
timeout 120 $ready/tests gemm 2>&1 | tail -25
timeout 60 $ready/tests gemm::bf16 --nocapture 2>&1 | grep -i skipped

for threads in 1 16; do
    for kind in highest medium bf16; do
        section "products, $kind, $threads threads"
        RAYON_NUM_THREADS=$threads timeout 40 $ready/gemm 384 $kind
        RAYON_NUM_THREADS=$threads timeout 20 $ready/gemm square $kind | tail -1
    done
done

section "GPT 6 x 384, 12 x 256, one step"
for threads in 1 2 4 8 16; do
    for variant in "" medium bf16; do
        printf 'rappel %-8s %2d threads: ' "${variant:-f32}" "$threads"
        # shellcheck disable=SC2086
        step "$threads" gpt_wide $ready/bench-rappel gpt_wide $variant
    done
done
python=${PYTHON:-python3}
if $python -c 'import torch' 2>/dev/null; then
    for threads in 1 2 4 8 16; do
        for variant in fused autocast; do
            printf 'PyTorch %-8s %2d threads: ' "$variant" "$threads"
            step "$threads" gpt_wide "$python" bench/torch_worker.py gpt_wide $variant
        done
    done
else
    echo "no PyTorch: its rows are left out"
fi
