"""Errors of the store. Each says whose fault it is and what the caller can do about it."""

from __future__ import annotations


class StoreError(Exception):
    """Base of all errors that a caller of the store can meet.

    `status` is the HTTP status with which an API should answer; `retry` tells whether
    the very same transaction (same request id) may be sent again.
    """

    status = 500
    retry = False


class Unavailable(StoreError):
    """No quorum, or no leader known: nothing was written. `leader` is who to ask, if known."""

    status = 503
    retry = True

    def __init__(self, reason: str, leader: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.leader = leader


class UnknownOutcome(StoreError):
    """The write may or may not have been applied. Retrying with the same request id is safe."""

    status = 504
    retry = True


class Overloaded(StoreError):
    """Too much is in flight. Nothing was written; try again after `retry_after_s` seconds."""

    status = 429
    retry = True

    def __init__(self, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class TooLarge(StoreError):
    """The transaction exceeds a limit of raftstore/limits.py. Nothing was written."""

    status = 413


class Compacted(StoreError):
    """The feed no longer holds the asked index; `first_index` is the oldest it can resume after."""

    status = 410

    def __init__(self, asked: int, first_index: int) -> None:
        super().__init__(f"index {asked} is compacted; the oldest that can be resumed from is {first_index}")
        self.asked = asked
        self.first_index = first_index


class Corrupt(StoreError):
    """The data on disk is not what was written. The message names file, offset and remedy."""


class DataDirInUse(StoreError):
    """Another process holds the data directory's lock."""


class DiskFull(StoreError):
    """No space for the log. What was buffered is kept; writing again resumes when space returns."""

    status = 507
    retry = True


class DiskFailed(StoreError):
    """The disk refused a write or a sync for a reason that retrying cannot mend; the process must end.

    After a failed fsync the kernel may have dropped the dirty pages and call the next
    fsync a success ("fsyncgate", PostgreSQL 2018), so nothing may be acknowledged any more.
    """


class WrongDataDir(StoreError):
    """The directory or segment belongs to another cluster or node, or to a newer format."""
