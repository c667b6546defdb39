# shellcheck shell=bash
# A Docker daemon where none answers, for scripts that are run as root: source it, then start_daemon and,
# in the end, end_daemon. It keeps its images in /var/lib/docker, so that they are there the next time.

DAEMON_S=30

start_daemon() {
    command -v docker >/dev/null || fail "docker is missing: install docker.io (Debian) or Docker Engine"
    docker info >/dev/null 2>&1 && return
    [[ $EUID == 0 ]] || fail "no Docker daemon answers: start it, or run this as root"
    command -v dockerd >/dev/null || fail "dockerd is missing: install docker.io (Debian) or Docker Engine"
    # Without systemd nobody else may have done it.
    mountpoint -q /sys/fs/cgroup || cgroupfs-mount 2>/dev/null || mount -t cgroup2 cgroup2 /sys/fs/cgroup || true
    local options=() log
    log=$(mktemp)
    # Overlays do not nest: within a container, images are kept in memory rather than copied for each layer.
    if [[ $(stat -f -c %T /var/lib) == overlayfs ]]; then
        daemon_root=$(mktemp -d)
        mount -t tmpfs tmpfs "$daemon_root" 2>/dev/null && options=(--data-root "$daemon_root")
    fi
    # shellcheck disable=SC2086
    dockerd "${options[@]}" ${DOCKERD_OPTIONS:-} >"$log" 2>&1 &
    daemon=$!
    for ((n = 0; n < DAEMON_S * 2; n++)); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.5
    done
    end_daemon
    fail "dockerd does not start; its log, $log, ends with: $(tail -1 "$log")"
}

end_daemon() {
    if [[ -n ${daemon:-} ]]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
        daemon=
    fi
    if [[ -n ${daemon_root:-} ]]; then
        umount "$daemon_root" 2>/dev/null || true
        rmdir "$daemon_root" 2>/dev/null || true
        daemon_root=
    fi
}
