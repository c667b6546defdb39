#!/usr/bin/env bash
# Build every wheel that the image installs, with the Python of this machine (the image's own version of it).
# Those of dependencies are kept until pyproject.toml changes.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=compose/wheels
pip=("${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --wheel-dir "$wheels")
if [[ ! -e $wheels/.made || pyproject.toml -nt $wheels/.made ]]; then
    rm -rf "$wheels"
    "${pip[@]}" .
    touch "$wheels/.made"
else
    rm -f "$wheels"/raftmesh-*.whl
    "${pip[@]}" --no-deps .
fi
rm -rf build
