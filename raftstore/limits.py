"""Every limit of the store, with its reason. Beyond one: a clear error, and nothing lost."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- what a client may ask ---------------------------------------------------------------
# A mesh resource is a few KiB; a large certificate bundle or a generated route table is tens.
VALUE_BYTES_MAX = 1 * MIB
# Names become Envoy resource names and URL path segments; Kuma allows 253.
KEY_PART_BYTES_MAX = 512
# `apply -f` of a whole mesh in one transaction; a watcher must hold it in memory as one Commit.
TXN_WRITES_MAX = 2_000
TXN_GUARDS_MAX = 2_000
TXN_BYTES_MAX = 8 * MIB
# actor, cause, via: shown in histories and audits, so short text.
TEXT_BYTES_MAX = 1 * KIB
REQUEST_ID_BYTES_MAX = 128

# --- what travels and is stored ----------------------------------------------------------
# One Raft entry carries many transactions; larger entries delay heartbeats behind them.
BATCH_TXNS_MAX = 1_000
BATCH_BYTES_MAX = 16 * MIB
# A log record holds one batch and a few numbers.
WAL_RECORD_BYTES_MAX = 32 * MIB
# Large enough that a rotation is rare, small enough that dropping old ones frees space soon.
WAL_SEGMENT_BYTES = 64 * MIB

# Segments that are let go of and kept for the next ones: overwriting takes half of what growing takes.
WAL_SPARES = 1
# Entries whose bytes stay in memory; followers that lag by more are served from the disk, so much at once.
LOG_MEMORY_BYTES = 32 * MIB
LOG_MEMORY_ENTRIES = 20_000
LOG_READ_BYTES = 1 * MIB

# --- memory of request ids (exactly once) ------------------------------------------------
# A retry later than this, in log time, or after so many newer requests, is a new request. The
# newest are kept whatever the clock says: a leader's clock that jumps must not void retries.
# These three are part of the log's format: replicas that differ in them diverge.
REQUESTS_REMEMBERED_MIN = 1_000
REQUESTS_REMEMBERED_MAX = 100_000
REQUESTS_REMEMBERED_MS = 10 * 60 * 1000

# --- the feed ----------------------------------------------------------------------------
# Commits kept so that a watcher that was away resumes without a snapshot.
FEED_COMMITS_MAX = 50_000
FEED_BYTES_MAX = 256 * MIB
FEED_AGE_MS_MAX = 60 * 60 * 1000
# Commits that a reader who asks for the past replays: a worker folds some 5,000 a second at its start.
FEED_REPLAY_MAX = 5_000
FEED_BOOKMARK_S = 10.0
# Records and bytes of values per chunk of a snapshot: about 1 ms of work on the loop.
SNAPSHOT_CHUNK_RECORDS = 500
SNAPSHOT_CHUNK_BYTES = 1 * MIB
# A chunk may hold one value that is larger, written by a release with another VALUE_BYTES_MAX.
SNAPSHOT_CHUNK_BYTES_MAX = 64 * MIB

# --- between replicas --------------------------------------------------------------------
# Before a peer has said who it is, it may cost us next to nothing.
HELLO_BYTES_MAX = 4 * KIB
HANDSHAKES_MAX = 64
HANDSHAKE_S = 5.0
# The largest entry alone in its message, or a full batch and the entry that exceeded it.
PEER_FRAME_BYTES_MAX = 2 * BATCH_BYTES_MAX + MIB
# A DNS name has 253 at most; then a port.
ADDRESS_CHARS_MAX = 300
# Several of the largest frames; a peer with more unread is stuck, and Raft will send again.
PEER_BACKLOG_BYTES_MAX = 128 * MIB
# A cut network is noticed after SILENCE_S at the latest.
PING_S = 0.5
SILENCE_S = 3.0
REDIAL_S_MIN = 0.05
# A replica that restarts is away for a second or so, and until all are connected again the next
# failure may leave no quorum: so three times a second, which costs a refused connection each.
REDIAL_S_MAX = 0.3
# A link that ends sooner was refused by the other side, or breaks again and again.
REDIAL_LASTED_S = 1.0

# --- writes on their way -----------------------------------------------------------------
# Per replica, without an outcome yet. A second of full load; more only adds waiting.
SUBMITS_WAITING_MAX = 20_000
SUBMITS_WAITING_BYTES_MAX = 64 * MIB
# One frame from replica to leader, and one entry: several, so that nothing large blocks a heartbeat.
FORWARD_BYTES = 1 * MIB
ENTRY_TARGET_BYTES = 1 * MIB
# Applying one entry must not hold up the loop: at some 30 microseconds each, 4 ms.
ENTRY_TXNS_MAX = 128
# Entries without an outcome. While they are written and replicated, what arrives shares the next.
ENTRIES_IN_FLIGHT_MAX = 4
# At the leader, of all replicas together.
INTAKE_BYTES_MAX = 256 * MIB
# After a leader refused (it is about to change): long enough for news, short against an election.
RESEND_S = 0.05

# --- between a replica's processes ---------------------------------------------------------
# The largest feed item: a commit of a full transaction, or a chunk of a snapshot.
SOCKET_FRAME_BYTES_MAX = 64 * MIB
# Per worker connection: requests without an answer.
REQUESTS_WAITING_MAX = 20_000
# To one peer, handed to TLS and not yet taken by the network; the rest waits as pointers.
PEER_WINDOW_BYTES = 4 * MIB
# A replica whose disk is full takes no more entries into memory than this.
UNWRITTEN_BYTES_MAX = 64 * MIB

# --- a new life: restored from a backup, or recovered by one of few -------------------------
# Its indexes begin so far above the last one that is known. What the old life did after that is lost, and
# none of its indexes may be used again: a watcher would go on at one without what it misses, a version
# match what it was not read from. More than a day of full load.
NEW_LIFE_GAP = 1_000_000_000

# --- snapshots of the state, and what is kept of the log ------------------------------------
# Restarting replays what is beyond the snapshot: about a second's worth.
SNAPSHOT_ENTRIES = 50_000
SNAPSHOT_BYTES = 128 * MIB
# A follower that was away for fewer entries catches up from the log.
SNAPSHOT_KEEP_ENTRIES = 10_000
# The transfer: chunk size, and how many bytes may be under way before the receiver answers.
TRANSFER_CHUNK_BYTES = 256 * KIB
TRANSFER_WINDOW_BYTES = 2 * MIB
# What has come of it and is not in the file yet: the window of another release, too, and then a fault.
TRANSFER_UNWRITTEN_BYTES_MAX = 2 * TRANSFER_WINDOW_BYTES
TRANSFER_SILENCE_S = 3.0
# A follower that is restarted in the middle of one goes on with it if it is back within this time...
TRANSFER_RESUME_S = 60.0
# ...and the log that follows a snapshot being sent is kept, but not for longer than so many others.
SNAPSHOTS_HELD = 4
# Feed items that a worker has received and not yet read; more stay in the store.
FEED_INBOX_ITEMS = 1_000
