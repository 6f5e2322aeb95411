#!/usr/bin/env bash
# Runs every fuzz target, on stable Rust: FUZZ_SECONDS in all (0 = none), or one target: fuzz/run.sh ids 600
# Needs a C++ compiler. A crash leaves its input in fuzz/artifacts/<target>/; `fuzz/run.sh ids <file>` runs it again.
set -euo pipefail
cd "$(dirname "$0")"

targets=(record envelope document_json ids passkeys tokens rules queries)
seconds=${FUZZ_SECONDS:-60}
input=
if (($# > 0)); then
    [[ " ${targets[*]} " == *" $1 "* ]] || { echo "no target $1; there are: ${targets[*]}" >&2; exit 2; }
    targets=("$1")
    if [[ -f ${2:-} ]]; then input=$2; else seconds=${2:-$seconds}; fi
fi
[[ $seconds =~ ^[0-9]+$ ]] || { echo "not a number of seconds: $seconds" >&2; exit 2; }
if ((seconds == 0)); then
    echo "fuzz: skipped (0 seconds)"
    exit 0
fi

# libFuzzer's counters through stable flags; --target keeps them out of build scripts.
triple=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --locked --release --target "$triple" --bins || {
    echo "fuzz: if it is only the lock file: cargo update --workspace --manifest-path fuzz/Cargo.toml" >&2
    exit 1
}

each=$((seconds / ${#targets[@]}))
((each > 0)) || each=1
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" "artifacts/$target"
    binary=target/$triple/release/$target
    if [[ -n $input ]]; then
        "$binary" "$input"
        continue
    fi
    echo "fuzz: $target, $each s"
    log=artifacts/$target/log
    if ! "$binary" "corpus/$target" "seeds/$target" -max_total_time="$each" -max_len=4096 \
        -timeout=10 -rss_limit_mb=1024 -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        cat "$log" >&2
        echo "fuzz: $target failed; its input is in fuzz/artifacts/$target/" >&2
        exit 1
    fi
    grep -E '^Done ' "$log"
done
