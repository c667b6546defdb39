#!/usr/bin/env bash
# Make a base image from Debian's packages, for machines that can pull none: compose/base.sh [IMAGE]
set -euo pipefail
image=${1:-raftmesh-base:bookworm}
if docker image inspect "$image" >/dev/null 2>&1; then
    exit 0
fi
[[ $EUID == 0 ]] || { echo "debootstrap needs root" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: install it (Debian, Ubuntu)" >&2; exit 2; }
root=$(mktemp -d)
log=$(mktemp)
trap 'umount "$root" 2>/dev/null || true; rm -rf "$root" "$log"' EXIT
# In memory where there is enough of it: dpkg syncs each file that it writes.
if (($(awk '/MemAvailable/ {print $2}' /proc/meminfo) > 3000000)); then
    mount -t tmpfs -o size=1g,mode=755 tmpfs "$root" 2>/dev/null || true
fi
echo "making $image with debootstrap"
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root/rootfs" >"$log" 2>&1 \
    || { tail -20 "$log" >&2; exit 1; }
rm -rf "$root"/rootfs/var/cache/apt/archives/*.deb "$root"/rootfs/var/lib/apt/lists/*
tar -C "$root/rootfs" -c . | docker import - "$image" >/dev/null
