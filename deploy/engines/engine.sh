# What kafka.sh and cassandra.sh share: options, jars, processes. Sourced by them, never run.
# They set ENGINE and defaults in SET, and define: choose_endpoints, endpoints,
# prepare, configure, command_line, launch_in_order, is_ready, address.
# shellcheck shell=bash

SCRIPT=$(realpath "$0")
HERE=$(dirname "$SCRIPT")
ROOT=$(realpath -m "${HEADWATER_ENGINES_DIR:-$HERE/../../../.engines}")
JARS=$ROOT/jars/$ENGINE
JAVA=${JAVA_HOME:+$JAVA_HOME/bin/}java

say() { printf '%s: %s\n' "$ENGINE" "$*"; }
die() { printf '%s: error: %s\n' "$ENGINE" "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$SCRIPT"; }

# --- options -------------------------------------------------------------------------------------

# Reads the command line into COMMAND, NODE, DIR, UNTIL, WAIT and SET. What `start` was told is kept
# in the instance's folder, so that later commands need nothing but --dir.
read_options() {
    local -A given=()
    local key value
    COMMAND=${1:-help} NODE='' DIR=$ROOT/$ENGINE UNTIL='' WAIT=120
    (($# == 0)) || shift
    while (($#)); do
        case $1 in
            --dir | --until | --wait | --nodes | --port | --heap | --addresses)
                [[ -n ${2:-} ]] || die "$1 needs a value"
                given[${1#--}]=$2
                shift ;;
            --quick | --tls | --unsafe) given[${1#--}]=1 ;;
            [1-9]) NODE=$1 ;;
            *) die "what is $1? '$(basename "$SCRIPT") help' says what there is" ;;
        esac
        shift
    done
    DIR=$(realpath -m "${given[dir]:-$DIR}") UNTIL=${given[until]:-} WAIT=${given[wait]:-$WAIT}
    unset 'given[dir]' 'given[until]' 'given[wait]'
    if [[ -f $DIR/settings ]]; then
        while IFS='=' read -r key value; do SET[$key]=$value; done <"$DIR/settings"
    fi
    for key in "${!given[@]}"; do
        [[ -v "SET[$key]" ]] || die "$ENGINE has no --$key"
        [[ $key != nodes || ! -f $DIR/settings || ${SET[nodes]} == "${given[nodes]}" ]] ||
            die "$DIR holds ${SET[nodes]} node(s): wipe it first"
        SET[$key]=${given[$key]}
    done
    [[ ${SET[nodes]} == [1-9] ]] || die "--nodes is a number from 1 to 9"
    [[ -z $NODE || $NODE -le ${SET[nodes]} ]] || die "there is no node $NODE of ${SET[nodes]}"
}

save_settings() {
    local key
    for key in "${!SET[@]}"; do printf '%s=%s\n' "$key" "${SET[$key]}"; done >"$DIR/settings.new"
    mv "$DIR/settings.new" "$DIR/settings"
}

all_nodes() { seq "${SET[nodes]}"; }
is_open() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

# --- jars ----------------------------------------------------------------------------------------

has_jars() { [[ $(cat "$JARS/stamp" 2>/dev/null) == "$(sha256sum <"$HERE/pom.xml")" ]]; }

install_jars() {
    ! has_jars || return 0
    local missing=()
    command -v "$JAVA" >/dev/null || missing+=(openjdk-17-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    ((${#missing[@]} == 0)) || die "not installed; on Debian: apt-get install ${missing[*]}"
    mkdir -p "$ROOT/jars"
    exec 8>"$JARS.lock"
    flock 8
    if ! has_jars; then
        say "resolving the jars with Maven"
        rm -rf "$JARS" "$JARS.new"
        # First from what is there already, so that a second install needs no network.
        copy_jars -o || copy_jars || { grep -m5 ERROR "$JARS.log" >&2; die "see $JARS.log"; }
        sha256sum <"$HERE/pom.xml" >"$JARS.new/stamp"
        mv "$JARS.new" "$JARS"
        write_class_archive
        say "installed into $JARS, $(du -sh "$JARS" | cut -f1)"
    fi
    exec 8>&-
}

copy_jars() {
    mvn -q -B "$@" -f "$HERE/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$JARS.new" </dev/null >"$JARS.log" 2>&1
}

# One short life of a node, at whose end the JVM writes down the classes it has loaded. Every later
# start reads them from there, which saves about 40 % of its CPU time. Not needed, so may fail.
write_class_archive() {
    local warm=(--dir "$JARS.warm-up") archive=$JARS.jsa
    if HEADWATER_ENGINE_ARCHIVE=$archive "$SCRIPT" start "${warm[@]}" "${WARM_UP[@]}" &&
        "$SCRIPT" stop "${warm[@]}" && [[ -f $archive ]]; then
        mv "$archive" "$JARS/classes.jsa"
    else
        say "no class archive: starts will be slower; see $JARS.log" >&3
    fi 3>&1 >>"$JARS.log" 2>&1
    rm -f "$archive"
    "$SCRIPT" wipe "${warm[@]}"
}

class_archive() {
    if [[ -n ${HEADWATER_ENGINE_ARCHIVE:-} ]]; then
        echo "-XX:ArchiveClassesAtExit=$HEADWATER_ENGINE_ARCHIVE"
    else
        echo "-XX:SharedArchiveFile=$JARS/classes.jsa" # the JVM does without when it is missing
    fi
}

# --- processes -----------------------------------------------------------------------------------

# The pid of a node that runs. A pid file outlives its process and the number may have become
# somebody else's, so the process must carry the node's own mark.
pid_of() {
    local pid
    pid=$(cat "$DIR/node-$1/pid" 2>/dev/null) || return 1
    grep -qzxF -- "-Dheadwater.node=$DIR/node-$1" "/proc/$pid/cmdline" 2>/dev/null || return 1
    echo "$pid"
}

launch() {
    local node=$1 home=$DIR/node-$1
    ! pid_of "$node" >/dev/null || return 0
    mkdir -p "$home"
    configure "$node"
    [[ ! -f $home/log ]] || mv "$home/log" "$home/log.1"
    local flags=(-XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true "-Xmx${SET[heap]}")
    # The quick compiler only, and the collector with the fewest threads.
    ((!SET[quick])) || flags+=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC)
    mapfile -t -O "${#flags[@]}" flags < <(command_line "$node")
    # Its own session, none of our locks, and no hold on whoever reads our output.
    setsid "$JAVA" "-Dheadwater.node=$home" "$(class_archive)" "${flags[@]}" \
        </dev/null >"$home/log" 2>&1 8>&- 9>&- &
    echo $! >"$home/pid"
}

await() {
    local node deadline=$((SECONDS + WAIT))
    for node; do
        until is_ready "$node"; do
            kill -0 "$(cat "$DIR/node-$node/pid")" 2>/dev/null || give_up "$node" "ended"
            ((SECONDS < deadline)) || give_up "$node" "is not ready after $WAIT s"
            sleep 0.1
        done
    done
}

give_up() {
    tail -n 20 "$DIR/node-$1/log" | cut -c 1-300 >&2
    die "node $1 $2; see $DIR/node-$1/log"
}

# Sends a signal to nodes, and for one that ends them waits until they have ended.
signal() {
    local name=$1 node pid deadline=$((SECONDS + 30))
    shift
    for node; do ! pid=$(pid_of "$node") || kill "-$name" "$pid"; done
    [[ $name == TERM || $name == KILL ]] || return 0
    # A paused node hears of it only when it goes on.
    for node; do ! pid=$(pid_of "$node") || kill -CONT "$pid"; done
    for node; do
        while pid=$(pid_of "$node"); do
            if ((SECONDS >= deadline)); then
                say "node $node did not stop within 30 s: killed"
                kill -KILL "$pid"
                deadline=$((SECONDS + 10))
            fi
            sleep 0.1
        done
        rm -f "$DIR/node-$node/pid"
    done
}

# When process $UNTIL ends, the nodes are killed: a test that dies leaves no engine behind.
watch_parent() {
    [[ -n $UNTIL ]] || return 0
    # shellcheck disable=SC2016  # expanded by the inner shell
    setsid bash -c 'while kill -0 "$1"; do sleep 1; done; "$2" kill --dir "$3"' \
        watch "$UNTIL" "$SCRIPT" "$DIR" </dev/null >/dev/null 2>&1 8>&- 9>&- &
}

# --- commands ------------------------------------------------------------------------------------

start() {
    local began node endpoint nodes=("$@")
    began=$(date +%s%N)
    choose_endpoints
    for node in "${nodes[@]}"; do
        ! pid_of "$node" >/dev/null || continue
        for endpoint in $(endpoints "$node"); do
            ! is_open "$endpoint" || die "$endpoint is taken: choose other ones, see help"
        done
    done
    save_settings
    prepare
    for node in "${nodes[@]}"; do launch_in_order "$node"; done
    await "${nodes[@]}"
    watch_parent
    say "node(s) ${nodes[*]} ready in $((($(date +%s%N) - began) / 1000000)) ms: $(address)"
}

status() {
    local node pid code=0
    for node in $(all_nodes); do
        if pid=$(pid_of "$node"); then
            say "node $node runs, pid $pid, $(endpoints "$node" | head -1)," \
                "resident $(awk '/^VmRSS/{print int($2 / 1024)}' "/proc/$pid/status") MiB"
        else
            say "node $node does not run"
            code=3
        fi
    done
    return $code
}

wipe() {
    signal KILL $(all_nodes)
    # Only what was made here: --dir may have been mistyped.
    rm -rf "$DIR"/node-[1-9] "$DIR"/{settings,cluster-id,password,tls,lock}
    rmdir "$DIR" 2>/dev/null || true
}

main() {
    read_options "$@"
    case $COMMAND in
        help | --help | -h) usage; return ;;
        install) install_jars; return ;;
        start | start-node) install_jars; mkdir -p "$DIR" ;;
        stop | stop-node | kill | kill-node | pause-node | resume-node | status | address | wipe)
            [[ -f $DIR/settings ]] || absent ;;
        *) usage >&2; exit 2 ;;
    esac
    case $COMMAND in
        *-node) [[ -n $NODE ]] || die "$COMMAND needs the number of a node" ;;
        status | address) "$COMMAND"; return ;;
    esac
    exec 9>"$DIR/lock"
    flock -w 300 9 || die "somebody else has been at work in $DIR for 5 minutes"
    case $COMMAND in
        start) start $(all_nodes) ;;
        start-node) start "$NODE" ;;
        stop) signal TERM $(all_nodes) ;;
        stop-node) signal TERM "$NODE" ;;
        kill | kill-node) signal KILL ${NODE:-$(all_nodes)} ;;
        pause-node) signal STOP "$NODE" ;;
        resume-node) signal CONT "$NODE"; await "$NODE" ;;
        wipe) wipe ;;
    esac
}

absent() {
    say "nothing in $DIR"
    case $COMMAND in
        status) exit 3 ;;
        stop | kill | wipe) exit 0 ;;
        *) exit 1 ;;
    esac
}
