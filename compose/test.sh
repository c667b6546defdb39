#!/usr/bin/env bash
# `make compose-test`: build, start, break, report, stop. Exit status 0 when every promise held, 1 when
# one did not, 2 when this machine cannot (the last line says why).
#
#   FAULT="kill-leader full-volume"   some faults only
#   TOPOLOGY=cluster-3|cluster-5|mesh
#
# Works with `docker compose` (v2) and docker-compose (v1), with and without a registry to pull from:
# without, the base image is made with debootstrap. As root, a daemon is started when none runs, and ended.
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=raftmesh-test-$$
# Any free port, and a network that no other run has: tests must not meet.
export RAFTMESH_PORT_1=0 RAFTMESH_PORT_2=0 RAFTMESH_PORT_3=0 RAFTMESH_PORT_4=0 RAFTMESH_PORT_5=0 RAFTMESH_PORT_WEB=0
export RAFTMESH_SUBNET=10.88.$(($$ % 250))
topology=${TOPOLOGY:-cluster-3}
began=$SECONDS
daemon=

fail() { echo "compose cannot run here: $*" >&2; exit 2; }
say() { echo "[$((SECONDS - began)) s] $*"; }

source compose/daemon.sh
trap end_daemon EXIT
start_daemon

if docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose)
else fail "docker compose is missing: install docker-compose (Debian) or the compose plugin"; fi

compose+=(-f "compose/$topology.yml")
case $topology in
    cluster-3 | mesh) compose+=(-f compose/small-volumes.yml) ;;
    cluster-5) ;;
    *) fail "TOPOLOGY=$topology: cluster-3, cluster-5 or mesh" ;;
esac

if [[ -z ${RAFTMESH_BASE:-} ]]; then
    RAFTMESH_BASE=python:3.11-slim
    if ! docker image inspect "$RAFTMESH_BASE" >/dev/null 2>&1 && ! timeout 60 docker pull -q "$RAFTMESH_BASE" 2>/dev/null; then
        RAFTMESH_BASE=raftmesh-base:bookworm
        compose/base.sh "$RAFTMESH_BASE" || fail "no base image: $RAFTMESH_BASE cannot be made, and none can be pulled"
    fi
fi
export RAFTMESH_BASE
say "base image: $RAFTMESH_BASE"
# Wheels for the image's own version of Python, or else none: then the build asks a package index.
version='import sys; print(*sys.version_info[:2])'
python=${PYTHON:-.venv/bin/python}
if [[ $(docker run --rm --entrypoint python3 "$RAFTMESH_BASE" -c "$version") == $("$python" -c "$version" 2>/dev/null) ]]; then
    PYTHON=$python compose/wheels.sh
else
    rm -f compose/wheels/*.whl compose/wheels/dependencies/*.whl compose/wheels/.made
fi
log=$(mktemp)
docker build --build-arg BASE="$RAFTMESH_BASE" --tag raftmesh --file compose/Dockerfile . >"$log" 2>&1 \
    || { tail -40 "$log" >&2; exit 1; }
say "the image is built"

end() {
    "${compose[@]}" --profile chaos down --volumes --remove-orphans --timeout 5 >"$log" 2>&1 || cat "$log" >&2
    rm -f "$log"
    end_daemon
}
trap end EXIT
"${compose[@]}" up -d >"$log" 2>&1 || { "${compose[@]}" logs --no-color --tail 20; tail -20 "$log"; exit 1; }
say "$topology is up"
faults=()
for fault in ${FAULT:-}; do faults+=(--fault "$fault"); done
status=0
# The same that a person would run; it speaks to Docker from within.
"${compose[@]}" --profile chaos run --rm -T chaos --seconds "${SECONDS_EACH:-3}" "${faults[@]}" || status=$?
if ((status)); then
    mapfile -t replicas < <("${compose[@]}" config --services | grep '^cp-')
    "${compose[@]}" logs --no-color --tail 40 "${replicas[@]}" >&2
fi
say "done"
exit $status
