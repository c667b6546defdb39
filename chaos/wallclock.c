/* A wall clock that can be set per process, for LD_PRELOAD: see clocks.py.
 *
 * What is read from CLOCK_REALTIME is moved by the nanoseconds that the file named by
 * RAFTMESH_WALL_CLOCK holds at that moment (one int64, mapped, so that a jump reaches running
 * processes at once). All other clocks, and with them every timer, stay as they are. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static int (*real_gettime)(clockid_t, struct timespec *);
static const volatile int64_t *moved_ns;

__attribute__((constructor)) static void begin(void) {
    real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("RAFTMESH_WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *map = mmap(NULL, sizeof *moved_ns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED)
        moved_ns = map;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_gettime) /* another library's constructor came first */
        begin();
    int failed = real_gettime(clock, now);
    if (failed == 0 && moved_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t total = now->tv_sec * SECOND + now->tv_nsec + *moved_ns;
        now->tv_sec = total / SECOND;
        now->tv_nsec = total % SECOND;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0)
        return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME_COARSE, &exact) != 0)
        return -1;
    if (out)
        *out = exact.tv_sec;
    return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}
