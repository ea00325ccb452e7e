#!/usr/bin/env bash
# Times our encoder and PyTorch's on the same work, one after the other on one machine, and prints the ratios.
#
#   benches/peers/run.sh cpu|cuda [--out FILE.csv] [--python PYTHON] [--batch N] [--batches N] [--repeats N] [--threads N]
#                                 [--models "distilbert minilm-l6"] [--lengths "rte imdb"] [--modes "train infer"]
#                                 [--ours PROGRAM]
#
# Needs a Python with torch and transformers. The defaults take about half an hour on two cores. --ours names a built
# encoder-speed, for machines without Rust.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

fail() {
    echo "run.sh: $*" >&2
    exit 2
}

case "${1:-}" in
    cpu) batch=16 variants="fp32-pad512 fp32-pad fp32-sorted bf16-pad bf16-sorted" ;;
    cuda) batch=32 variants="fp32-pad512 fp32-pad fp32-sorted bf16-pad bf16-sorted bf16-compile" ;;
    *) fail "name the device: benches/peers/run.sh cpu, or cuda" ;;
esac
device="$1"
shift
out=peers.csv python=python3 ours="" batches=4 repeats=2 threads="$(nproc)"
models="distilbert minilm-l6" lengths="rte imdb" modes="train infer"
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || fail "$1 needs a value"
    case "$1" in
        --out) out="$2" ;;
        --python) python="$2" ;;
        --ours) ours="$2" ;;
        --batch) batch="$2" ;;
        --batches) batches="$2" ;;
        --repeats) repeats="$2" ;;
        --threads) threads="$2" ;;
        --models) models="$2" ;;
        --lengths) lengths="$2" ;;
        --modes) modes="$2" ;;
        *) fail "$1 is not an option" ;;
    esac
    shift 2
done
"$python" -c 'import torch, transformers' 2>/dev/null ||
    fail "$python lacks torch or transformers; install them (pip install torch transformers) or name another with --python"

if [ -z "$ours" ]; then
    cargo build --release --quiet --manifest-path "$here/../Cargo.toml" --bin encoder-speed
    ours="${CARGO_TARGET_DIR:-$here/../../target}/release/encoder-speed"
fi
lines="$(mktemp)"
trap 'rm -f "$lines"' EXIT

for model in $models; do
    for length in $lengths; do
        for mode in $modes; do
            work=(--model "$model" --lengths "$here/lengths/$length.txt" --mode "$mode" --batch "$batch"
                --batches "$batches" --repeats "$repeats" --threads "$threads" --device "$device")
            for precision in f32 bf16; do
                "$ours" "${work[@]}" --precision "$precision" | tee -a "$lines" >&2
            done
            for variant in $variants; do
                "$python" "$here/torch_encoder.py" "${work[@]}" --variant "$variant" | tee -a "$lines" >&2
            done
        done
    done
done
"$python" "$here/ratios.py" "$lines" "$out"
