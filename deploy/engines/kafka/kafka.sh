#!/usr/bin/env bash
# Apache Kafka on this machine, for tests and for trying things out: jars from Maven, no container.
#
#   kafka.sh install         resolve the jars; does nothing when they are there
#   kafka.sh start           install, start what does not run, wait until it serves
#   kafka.sh stop            stop in order; data stays
#   kafka.sh status          one line for each node; exit code 3 when one does not run
#   kafka.sh address         the bootstrap servers
#   kafka.sh wipe            kill the nodes, delete data, logs and settings; the jars stay
#   kafka.sh kill [N]        kill -9 of node N, or of all
#   kafka.sh start-node N    also: stop-node, kill-node, pause-node (SIGSTOP), resume-node
#
# Options of start (remembered in the instance's folder; later commands need only --dir):
#   --dir DIR      the instance's folder      [$HEADWATER_ENGINES_DIR/kafka, .engines/kafka]
#   --nodes N      brokers, each also a controller; 3 gives replication 3, min.insync 2  [1]
#   --port PORT    node N listens on PORT+N-1, as controller on PORT+N+9, with TLS on PORT+N+19;
#                  `auto` looks for free ones below the ephemeral range  [9092]
#   --heap SIZE    -Xmx of each node          [512m]
#   --quick        for short tests: starts sooner, runs slower
#   --tls          a second listener, SASL_SSL with SCRAM-SHA-256 or PLAIN: user headwater,
#                  password in DIR/password, certificate authority in DIR/tls/ca.pem
# For one start only:
#   --until PID    kill the nodes when process PID ends
#   --wait S       seconds until a start is given up  [120]
set -euo pipefail

ENGINE=kafka
declare -A SET=([nodes]=1 [port]=9092 [heap]=512m [quick]=0 [tls]=0)
WARM_UP=(--port auto)
# shellcheck source=../engine.sh
source "$(dirname "$(realpath "$0")")/../engine.sh"

HOST=127.0.0.1
client() { echo "$HOST:$((SET[port] + $1 - 1))"; }
controller() { echo "$HOST:$((SET[port] + $1 + 9))"; }
secure() { echo "$HOST:$((SET[port] + $1 + 19))"; }
each_node() { local n; for n in $(all_nodes); do "$1" "$n"; done; }
voter() { echo "$1@$(controller "$1")"; }

address() {
    each_node client | paste -sd,
    ((!SET[tls])) || echo "SASL_SSL $(each_node secure | paste -sd,)"
}

endpoints() {
    client "$1"
    controller "$1"
    ((!SET[tls])) || secure "$1"
}

prepare() {
    local node
    [[ -f $DIR/password ]] || (umask 077; random 18 >"$DIR/password")
    [[ -f $DIR/cluster-id ]] || random 16 >"$DIR/cluster-id"
    ((!SET[tls])) || [[ -f $DIR/tls/ca.pem ]] || make_certificates
    # Each JVM that formats takes a second of CPU: side by side, and never twice.
    for node in $(all_nodes); do format "$node" & done
    wait
    for node in $(all_nodes); do
        [[ -f $DIR/node-$node/data/meta.properties ]] ||
            { tail -n 5 "$DIR/node-$node/format.log" >&2; die "node $node can't be formatted"; }
    done
}

# As Kafka wants an id: base64url of 16 bytes. Without - and _, since a first - reads as an option.
random() { head -c "$1" /dev/urandom | base64 | tr '+/' 'ab' | tr -d =; }

# Below 32768 no outgoing connection takes a port away between looking and listening.
choose_endpoints() {
    local endpoint free=0
    [[ ${SET[port]} == auto ]] || return 0
    until ((free)); do
        SET[port]=$((20000 + RANDOM % 12000)) free=1
        for endpoint in $(each_node endpoints); do ! is_open "$endpoint" || free=0; done
    done
}

format() {
    local home=$DIR/node-$1
    [[ ! -f $home/data/meta.properties ]] || return 0
    mkdir -p "$home"
    configure "$1"
    # The SCRAM user exists from the first moment, so --tls can be added to an instance later.
    "$JAVA" -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
        "-Dlog4j2.configurationFile=$HERE/log4j2.properties" -cp "$JARS/*" \
        kafka.tools.StorageTool format -c "$home/broker.properties" -t "$(cat "$DIR/cluster-id")" \
        --add-scram "SCRAM-SHA-256=[name=headwater,password=$(cat "$DIR/password")]" \
        </dev/null >"$home/format.log" 2>&1 8>&- 9>&-
}

# An authority and one certificate for all nodes. keytool comes with every JVM, openssl does not.
make_certificates() {
    local tls=$DIR/tls
    rm -rf "$tls.new"
    mkdir -p "$tls.new"
    (
        umask 077
        cd "$tls.new"
        tool() { keytool "$@" -storetype PKCS12 -storepass headwater >>keytool.log 2>&1; }
        tool -genkeypair -keystore ca.p12 -alias ca -keyalg EC -dname CN=headwater-engines \
            -ext bc:c=ca:true -ext ku:c=keyCertSign -validity 3650
        tool -exportcert -keystore ca.p12 -alias ca -rfc -file ca.pem
        tool -genkeypair -keystore node.p12 -alias node -keyalg EC -dname CN=kafka
        tool -certreq -keystore node.p12 -alias node -file node.csr
        tool -gencert -keystore ca.p12 -alias ca -infile node.csr -outfile node.pem -rfc \
            -ext san=dns:localhost,ip:127.0.0.1 -ext eku=serverAuth -validity 3650
        tool -importcert -keystore node.p12 -alias ca -file ca.pem -noprompt
        tool -importcert -keystore node.p12 -alias node -file node.pem
    ) || { tail -n 5 "$tls.new/keytool.log" >&2; die "no certificates"; }
    mv "$tls.new" "$tls"
}

configure() {
    local node=$1 replicas=$((SET[nodes] < 3 ? 1 : 3)) listeners
    listeners=PLAINTEXT://$(client "$node")
    ((!SET[tls])) || listeners+=,SECURE://$(secure "$node")
    {
        cat "$HERE/broker.properties"
        echo "node.id=$node"
        echo "log.dirs=$DIR/node-$node/data"
        echo "listeners=$listeners,CONTROLLER://$(controller "$node")"
        echo "advertised.listeners=$listeners"
        echo "controller.quorum.voters=$(each_node voter | paste -sd,)"
        echo "default.replication.factor=$replicas"
        echo "min.insync.replicas=$((replicas - replicas / 2))"
        # With the defaults of 3 and 2, groups and transactions hang on a single broker.
        for topic in offsets.topic transaction.state.log share.coordinator.state.topic; do
            echo "$topic.replication.factor=$replicas"
        done
        echo "transaction.state.log.min.isr=$((replicas - replicas / 2))"
        echo "share.coordinator.state.topic.min.isr=$((replicas - replicas / 2))"
        ((!SET[tls])) || configure_tls
    } >"$DIR/node-$node/broker.properties"
}

configure_tls() {
    local login=org.apache.kafka.common.security listener=listener.name.secure
    cat <<EOF
sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN
$listener.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
$listener.plain.sasl.jaas.config=$login.plain.PlainLoginModule required \\
  user_headwater="$(cat "$DIR/password")";
$listener.ssl.keystore.type=PKCS12
$listener.ssl.keystore.location=$DIR/tls/node.p12
$listener.ssl.keystore.password=headwater
EOF
}

command_line() {
    printf '%s\n' -Xms64m "-Dlog4j2.configurationFile=$HERE/log4j2.properties" -cp "$JARS/*" \
        kafka.Kafka "$DIR/node-$1/broker.properties"
}

# Nodes find each other, in whichever order they start.
launch_in_order() { launch "$1"; }

is_ready() { grep -qs 'Kafka Server started' "$DIR/node-$1/log" && is_open "$(client "$1")"; }

main "$@"
