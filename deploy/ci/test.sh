#!/usr/bin/env bash
# All checks in one fixed order, cargo's own tests last; the same here and in CI. Run by `make test`.
#   deploy/ci/test.sh          everything
#   deploy/ci/test.sh lint     formatting and clippy
#   deploy/ci/test.sh audit    licences, bans, sources, advisories
# Installs into the checkout only: .venv (schemathesis, a Kafka client, a mail server, an authenticator app), .tools
# (cargo-deny), .engines (Kafka and Cassandra, for the clustered tests), .foreign (an OpenID Connect issuer and a client). On
# Debian as root it also installs python3-venv, a Java 17 runtime, Maven, Node.js and Chromium when they are missing.
# FUZZ_SECONDS: fuzzing time in all, 60 by default, 0 for none.
set -euo pipefail
cd "$(dirname "$0")/../.."

DENY_VERSION=0.20.2
ADVISORIES=https://github.com/RustSec/advisory-db

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_tools() {
    command -v cargo >/dev/null || fail "cargo is missing: install Rust (stable) with rustup"
    command -v cc >/dev/null && command -v c++ >/dev/null \
        || fail "a C and C++ compiler is missing: on Debian, apt-get install build-essential"
    local component
    for component in rustfmt:fmt clippy:clippy; do
        cargo "${component#*:}" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || fail "${component%:*} is missing, and so is rustup to add it"
        rustup component add "${component%:*}"
    done
}

need_python() {
    local packages=(deploy/ci/requirements.txt tests/foreign/requirements.txt)
    cmp -s <(cat "${packages[@]}") .venv/installed.txt && .venv/bin/schemathesis --version >/dev/null 2>&1 && return
    step "install schemathesis and a Kafka client into .venv"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null; then
            apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy python3 python3-venv
        fi
        python3 -c 'import ensurepip, venv' 2>/dev/null \
            || fail "python3 with venv is missing: on Debian, apt-get install python3-venv"
    fi
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "${packages[@]/#/--requirement=}"
    cat "${packages[@]}" >.venv/installed.txt
}

need_deny() {
    [[ $(.tools/bin/cargo-deny --version 2>/dev/null) = "cargo-deny $DENY_VERSION" ]] && return
    step "install cargo-deny $DENY_VERSION into .tools (about three minutes of one core, once)"
    cargo install --locked --version "$DENY_VERSION" --root .tools cargo-deny
}

# Others' implementations that people sign in with: a certified issuer, and a browser with an authenticator.
need_foreign() {
    local packages=tests/foreign/issuer
    if ! cmp -s $packages/package-lock.json .foreign/issuer/installed.json; then
        local missing=()
        command -v node >/dev/null || missing+=(nodejs)
        command -v npm >/dev/null || missing+=(npm)
        if ((${#missing[@]})); then
            [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null \
                || fail "the issuer of the tests needs packages: on Debian, apt-get install ${missing[*]}"
            apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy "${missing[@]}"
        fi
        step "install an OpenID Connect issuer and a client into .foreign"
        mkdir -p .foreign/issuer
        cp $packages/package.json $packages/package-lock.json .foreign/issuer/
        (cd .foreign/issuer && npm ci --ignore-scripts --no-audit --no-fund)
        cp $packages/package-lock.json .foreign/issuer/installed.json
    fi
    cp $packages/*.js .foreign/issuer/
    if ! command -v chromium >/dev/null; then
        [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null \
            || fail "the passkeys of the tests need a browser: on Debian, apt-get install chromium"
        step "install chromium"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium
    fi
    FOREIGN_ISSUER=$PWD/.foreign/issuer
    FOREIGN_BROWSER=$(command -v chromium)
    export FOREIGN_ISSUER FOREIGN_BROWSER
}

need_engines() {
    local missing=() engine
    command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    if ((${#missing[@]})); then
        [[ $(id -u) = 0 ]] && command -v apt-get >/dev/null \
            || fail "the engines of the clustered tests need packages: on Debian, apt-get install ${missing[*]}"
        step "install ${missing[*]}"
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy "${missing[@]}"
    fi
    step "install Kafka and Cassandra into .engines"
    for engine in kafka cassandra; do deploy/engines/$engine/$engine.sh install; done
}

# For the tests of the log on Kafka and of the tables by CQL. The clustered tests start engines of their own.
start_engines() {
    step "start a Kafka and a Cassandra for the tests"
    local dir=$PWD/target/test-engines
    trap stop_engines EXIT
    deploy/engines/kafka/kafka.sh start --dir "$dir/kafka" --port auto --quick --heap 384m --until $$
    deploy/engines/cassandra/cassandra.sh start --dir "$dir/cassandra" --addresses auto --quick --unsafe \
        --heap 768m --until $$
    HEADWATER_TEST_KAFKA=$(deploy/engines/kafka/kafka.sh address --dir "$dir/kafka" | head -n 1)
    HEADWATER_TEST_CQL=$(deploy/engines/cassandra/cassandra.sh address --dir "$dir/cassandra" | head -n 1)
    export HEADWATER_TEST_KAFKA HEADWATER_TEST_CQL
}

stop_engines() {
    deploy/engines/kafka/kafka.sh wipe --dir "$PWD/target/test-engines/kafka" || true
    deploy/engines/cassandra/cassandra.sh wipe --dir "$PWD/target/test-engines/cassandra" || true
}

lint() {
    step "cargo fmt --check"
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    step "cargo clippy -D warnings"
    cargo clippy --locked --workspace --all-targets -- -D warnings
}

audit() {
    need_deny
    step "cargo deny: licences, bans, sources"
    .tools/bin/cargo-deny --locked check licenses bans sources
    step "cargo deny: advisories"
    if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote -q "$ADVISORIES" HEAD >/dev/null 2>&1; then
        .tools/bin/cargo-deny --locked check advisories
    else
        echo "NOT CHECKED: the advisory database can't be reached from here ($ADVISORIES)"
    fi
}

need_tools
case ${1:-all} in
lint) lint ;;
audit) audit ;;
all)
    need_python
    need_engines
    need_foreign
    lint
    audit
    step "fuzz targets"
    fuzz/run.sh
    export SCHEMATHESIS="$PWD/.venv/bin/schemathesis" FOREIGN_PYTHON="$PWD/.venv/bin/python"
    export HEADWATER_TEST_CLUSTER=1
    step "cargo test: build"
    cargo test --locked --workspace --no-run
    start_engines
    step "cargo test"
    cargo test --locked --workspace
    ;;
*) fail "what is ${1}? Say nothing, lint or audit" ;;
esac
