#!/usr/bin/env bash
# Build every wheel that the image installs, with the Python of this machine (the image's own version of it).
# Not needed where the build of the image reaches a package index. Dependencies are kept until
# pyproject.toml changes.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=compose/wheels
pip() { "${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check "$@"; }

rm -f "$wheels"/*.whl
source=$(mktemp -d)  # not in place: what a build leaves behind would be taken for source next time
trap 'rm -rf "$source"' EXIT
tar -c --exclude=__pycache__ pyproject.toml README.md LICENSE NOTICE mesh raftstore xds kds dp cp chaos | tar -x -C "$source"
pip --no-deps --wheel-dir "$wheels" "$source"
if [[ ! -e $wheels/.made || pyproject.toml -nt $wheels/.made ]]; then
    rm -f "$wheels"/dependencies/*.whl
    pip --wheel-dir "$wheels/dependencies" "$wheels"/raftmesh-*.whl
    rm -f "$wheels"/dependencies/raftmesh-*.whl
    touch "$wheels/.made"
fi
