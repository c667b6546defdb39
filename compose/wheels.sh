#!/usr/bin/env bash
# Build every wheel that the image installs, with the Python of this machine (3.11 or the image's own version).
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf compose/wheels
"${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --wheel-dir compose/wheels .
