#!/usr/bin/env bash
# Apache Cassandra on this machine, in the place of ScyllaDB, for tests and for trying things out:
# jars from Maven, no container.
#
#   cassandra.sh install         resolve the jars; does nothing when they are there
#   cassandra.sh start           install, start what does not run, wait until it serves
#   cassandra.sh stop            stop in order; data stays
#   cassandra.sh status          one line for each node; exit code 3 when one does not run
#   cassandra.sh address         the contact points
#   cassandra.sh wipe            kill the nodes, delete data, logs and settings; the jars stay
#   cassandra.sh kill [N]        kill -9 of node N, or of all
#   cassandra.sh start-node N    also: stop-node, kill-node, pause-node (SIGSTOP), resume-node
#
# Options of start (remembered in the instance's folder; later commands need only --dir):
#   --dir DIR         the instance's folder   [$HEADWATER_ENGINES_DIR/cassandra, .engines/cassandra]
#   --nodes N         nodes of the cluster; the first is the seed  [1]
#   --addresses A     node N lives on A.N: a second instance needs another one, such as 127.0.1;
#                     `auto` looks for a free one  [127.0.0]
#   --port PORT       where CQL is served; nodes speak to each other on PORT+1  [9042]
#   --heap SIZE       -Xmx of each node       [1g]; 512m is enough for tests
#   --quick           for short tests: starts sooner, runs slower
#   --unsafe          CREATE, ALTER and DROP in a third of the time; a node that is killed or loses
#                     power forgets the tables they made
# For one start only:
#   --until PID       kill the nodes when process PID ends
#   --wait S          seconds until a start is given up  [120]
set -euo pipefail

ENGINE=cassandra
declare -A SET=([nodes]=1 [port]=9042 [heap]=1g [quick]=0 [unsafe]=0 [addresses]=127.0.0)
WARM_UP=(--addresses auto)
# shellcheck source=../engine.sh
source "$(dirname "$(realpath "$0")")/../engine.sh"

host() { echo "${SET[addresses]}.$1"; }
client() { echo "$(host "$1"):${SET[port]}"; }
internode() { echo "$(host "$1"):$((SET[port] + 1))"; }
endpoints() {
    client "$1"
    internode "$1"
}

address() {
    local node
    for node in $(all_nodes); do client "$node"; done | paste -sd,
}

prepare() { :; }

choose_endpoints() {
    local node free=0
    if [[ ${SET[addresses]} != auto ]]; then
        [[ ${SET[addresses]} == 127.*.* ]] || die "--addresses is like 127.0.1, or auto"
        return
    fi
    until ((free)); do
        SET[addresses]=127.$((1 + RANDOM % 254)).$((RANDOM % 256)) free=1
        for node in $(all_nodes); do
            ! is_open "$(client "$node")" && ! is_open "$(internode "$node")" || free=0
        done
    done
}

configure() {
    local home=$DIR/node-$1
    {
        cat "$HERE/cassandra.yaml"
        echo "listen_address: $(host "$1")"
        echo "rpc_address: $(host "$1")"
        echo "native_transport_port: ${SET[port]}"
        echo "storage_port: $((SET[port] + 1))"
        echo "seed_provider:"
        echo "  - class_name: org.apache.cassandra.locator.SimpleSeedProvider"
        echo "    parameters: [{seeds: '$(internode 1)'}]"
        # Equal shares of the ring, which goes from -2^63 to 2^63-1.
        echo "initial_token: $(((1 << 63) + ($1 - 1) * 2 * (~(1 << 63) / SET[nodes])))"
        echo "data_file_directories: ['$home/data/tables']"
        echo "commitlog_directory: '$home/data/commitlog'"
        echo "hints_directory: '$home/data/hints'"
        echo "saved_caches_directory: '$home/data/caches'"
        echo "cdc_raw_directory: '$home/data/cdc'"
    } >"$home/cassandra.yaml"
}

command_line() {
    local home=$DIR/node-$1
    grep -v '^\(#\|$\)' "$HERE/jvm.options"
    # -Xms below -Xmx: when they are equal, Cassandra locks the whole heap in memory.
    printf '%s\n' -Xms128m "-Dcassandra.config=file://$home/cassandra.yaml" \
        "-Dcassandra.storagedir=$home/data" "-Dcassandra.logdir=$home" \
        "-Dlogback.configurationFile=$HERE/logback.xml"
    # Alone there is nobody to wait for; among others a moment is needed to be seen.
    if ((SET[nodes] == 1)); then
        printf -- '-Dcassandra.%s\n' skip_wait_for_gossip_to_settle=0 skip_schema_check=true \
            ring_delay_ms=100 shutdown_announce_in_ms=0
    else
        printf -- '-Dcassandra.%s\n' skip_wait_for_gossip_to_settle=0 ring_delay_ms=2000 \
            shutdown_announce_in_ms=500
    fi
    ((!SET[unsafe])) || echo -Dcassandra.unsafesystem=true
    printf '%s\n' -cp "$JARS/*" org.apache.cassandra.service.CassandraDaemon
}

# The seed first: the others can't join without it.
launch_in_order() {
    launch "$1"
    (($1 > 1 || SET[nodes] == 1)) || await 1
}

# Serves, and is seen by all others that run as it sees them.
is_ready() {
    local other
    grep -qs 'Starting listening for CQL clients' "$DIR/node-$1/log" || return 1
    is_open "$(client "$1")" || return 1
    for other in $(all_nodes); do
        if [[ $other != "$1" ]] && pid_of "$other" >/dev/null; then
            sees "$1" "$other" && sees "$other" "$1" || return 1
        fi
    done
}

sees() {
    grep -s "/$(internode "$2") .*now \(UP\|DOWN\)" "$DIR/node-$1/log" | tail -1 | grep -q 'now UP'
}

main "$@"
