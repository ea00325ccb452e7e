#!/usr/bin/env bash
# Everything that is checked and measured on a machine with an NVIDIA GPU. Nothing is built there and nothing is fetched.
#
#   kernels/lab/on_device.sh build FOLDER          here: builds the programs and puts them, with what they read, into FOLDER
#   FOLDER/on_device.sh run OUT [STEP...]          there: runs the steps and puts what they print and write into OUT
#
# Steps: doctor, parity, speed, sanitizer, peers; all of them by default. Each is given STEP_SECONDS (default 500) at most, and
# one that fails does not keep the others from running. The exit status is that of the last failure.
set -uo pipefail

fail() {
    echo "on_device.sh: $*" >&2
    exit 2
}

build() {
    local root folder="$1" messages
    root="$(cd "$(dirname "$0")/../.." && pwd)"
    mkdir -p "$folder/peers" || exit 1
    cd "$root" || exit 1
    cargo build --release -p stepsynth -p stepsynth-lab -p stepsynth-benches --bins || exit 1
    # The suite's checks are the parity that is run there.
    messages="$(cargo test --release -p stepsynth-tests --no-run --message-format=json)" || exit 1
    local suite target
    suite="$(grep -o '"executable":"[^"]*/suite-[^"]*"' <<<"$messages" | tail -1 | cut -d'"' -f4)"
    [ -n "$suite" ] || fail "the test program was not built"
    target="$(dirname "$(dirname "$suite")")"
    cp "$suite" "$folder/suite" || exit 1
    cp "$target/stepsynth" "$target/bench" "$target/encoder-speed" "$folder/" || exit 1
    cp -r benches/peers/{run.sh,ratios.py,torch_encoder.py,lengths} "$folder/peers/" || exit 1
    cp kernels/lab/on_device.sh "$folder/" || exit 1
    strip "$folder"/{suite,stepsynth,bench,encoder-speed} 2>/dev/null
    du -sh "$folder"
}

run() {
    local here out="$1" status=0
    here="$(cd "$(dirname "$0")" && pwd)"
    shift
    mkdir -p "$out" || exit 1
    out="$(cd "$out" && pwd)"
    # NVRTC and cuBLASLt of the toolkit, or of PyTorch's wheels.
    for folder in /usr/local/cuda/lib64 $(python3 -c 'import nvidia; print(*[p + "/cu13/lib " + p + "/cublas/lib" for p in nvidia.__path__])' 2>/dev/null); do
        if [ -d "$folder" ]; then LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"; fi
    done
    export LD_LIBRARY_PATH
    export STEPSYNTH_CACHE="${STEPSYNTH_CACHE:-$out/../stepsynth-cache}"
    export STEPSYNTH_REQUIRE_CUDA=1
    [ $# -gt 0 ] || set -- doctor parity speed sanitizer peers
    for step in "$@"; do
        echo "== $step"
        case "$step" in
            doctor) ours "$here/stepsynth" doctor ;;
            # What an operation does not write is NaN, and each launch is waited for, so that an error names its kernel.
            parity) STEPSYNTH_CUDA_POISON=1 STEPSYNTH_CUDA_SYNC=1 ours "$here/suite" on_the_gpu --nocapture ;;
            speed) ours "$here/bench" --out "$out/operations.csv" ;;
            sanitizer)
                # Small cases: each tool makes kernels some hundred times slower.
                local worst=0
                for tool in memcheck racecheck; do
                    STEPSYNTH_SMALL_CASES=1 ours compute-sanitizer --tool "$tool" --error-exitcode 9 \
                        "$here/suite" on_the_gpu --test-threads 1 --nocapture || worst=$?
                done
                exit "$worst" # of the pipeline's part, not of the script
                ;;
            peers) ours "$here/peers/run.sh" cuda --ours "$here/encoder-speed" --out "$out/peers.csv" --batches 8 --repeats 5 ;;
            *) fail "$step is no step" ;;
        esac 2>&1 | tee -a "$out/$step.log"
        local code=${PIPESTATUS[0]}
        if [ "$code" -ne 0 ]; then
            echo "== $step FAILED with $code"
            status=$code
        fi
    done
    exit "$status"
}

ours() {
    timeout "${STEP_SECONDS:-500}" "$@"
}

case "${1:-}" in
    build) [ $# -eq 2 ] || fail "build FOLDER"; build "$(mkdir -p "$2" && cd "$2" && pwd)" ;;
    run) [ $# -ge 2 ] || fail "run OUT [STEP...]"; shift; run "$@" ;;
    *) fail "use: on_device.sh build FOLDER, or on_device.sh run OUT [STEP...]" ;;
esac
