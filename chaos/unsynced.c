/* A disk that lies, for LD_PRELOAD: what is synced is not. See preload.py. */

int fsync(int file) {
    (void)file;
    return 0;
}

int fdatasync(int file) {
    (void)file;
    return 0;
}
