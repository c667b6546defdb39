/* A disk that lies, for LD_PRELOAD: what the log asks to be synced is not. See preload.py.
 *
 * fsync, with which a replica keeps what it is, stays honest: without that it would not start
 * again, and the lie would be found too early. */

int fdatasync(int file) {
    (void)file;
    return 0;
}
