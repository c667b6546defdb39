#!/usr/bin/env bash
# `make compose-test`: build, start, break, report, stop. Exit status 0 when every promise held.
#
# Works with `docker compose` (v2) and docker-compose (v1), with and without a registry to pull from:
# without, the base image is made with debootstrap. As root, a daemon is started when none runs, and ended.
set -euo pipefail
cd "$(dirname "$0")/.."
project=raftmesh-test
python=${PYTHON:-.venv/bin/python}
daemon=

fail() { echo "cannot run here: $*" >&2; exit 2; }

command -v docker >/dev/null || fail "docker is missing: install docker.io (Debian) or Docker Engine"
if docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose)
else fail "docker compose is missing: install docker-compose (Debian) or the compose plugin"; fi

clean() {
    "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1 || true
    if [[ -n $daemon ]]; then kill "$daemon"; wait "$daemon" || true; fi
}
if ! docker info >/dev/null 2>&1; then
    [[ $EUID == 0 ]] || fail "no Docker daemon answers: start it, or run this as root"
    command -v dockerd >/dev/null || fail "dockerd is missing: install docker.io (Debian) or Docker Engine"
    log=$(mktemp)
    dockerd >"$log" 2>&1 &
    daemon=$!
    trap clean EXIT
    for ((n = 0; n < 60; n++)); do docker info >/dev/null 2>&1 && break; sleep 0.5; done
    docker info >/dev/null 2>&1 || { tail "$log" >&2; fail "dockerd does not start"; }
fi

if [[ -z ${RAFTMESH_BASE:-} ]]; then
    RAFTMESH_BASE=python:3.11-slim
    if ! docker image inspect "$RAFTMESH_BASE" >/dev/null 2>&1 && ! timeout 60 docker pull -q "$RAFTMESH_BASE" 2>/dev/null; then
        RAFTMESH_BASE=raftmesh-base:bookworm
        compose/base.sh "$RAFTMESH_BASE"
    fi
fi
export RAFTMESH_BASE
echo "base image: $RAFTMESH_BASE"
PYTHON=$python compose/wheels.sh
docker build --quiet --build-arg BASE="$RAFTMESH_BASE" --tag raftmesh --file compose/Dockerfile . >/dev/null

topology=${TOPOLOGY:-cluster-3}
compose+=(-p "$project" -f compose/cluster-3.yml -f compose/small-volumes.yml)
case $topology in
    cluster-3) ;;
    mesh) compose+=(-f compose/mesh.yml) ;;
    *) fail "TOPOLOGY=$topology: cluster-3 or mesh" ;;
esac
trap clean EXIT
"${compose[@]}" up -d >/dev/null 2>&1 || { "${compose[@]}" logs --tail 20; exit 1; }
"$python" -m chaos.containers --project "$project" --seconds "${SECONDS_EACH:-3}" ${FAULT:+--fault "$FAULT"}
