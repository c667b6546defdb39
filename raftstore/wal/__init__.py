"""The write-ahead log: see journal.py for its use, format.py for its bytes, recovery.py for its rules."""

from raftstore.wal.disk import Disk, RealDisk
from raftstore.wal.inspect import Line, Report, dump, verify
from raftstore.wal.journal import Batch, Wal
from raftstore.wal.memdisk import MemoryDisk

__all__ = ["Batch", "Disk", "Line", "MemoryDisk", "RealDisk", "Report", "Wal", "dump", "verify"]
