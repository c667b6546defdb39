"""Every limit of the control-plane process, with its reason."""

from __future__ import annotations

MIB = 1 << 20

# --- requests -----------------------------------------------------------------------------
# One resource: what the store takes as one value (raftstore.limits.VALUE_BYTES_MAX).
BODY_BYTES_MAX = 1 * MIB
# Kuma's read timeout: a client that sends its body drop by drop is let go.
BODY_TIMEOUT_S = 10.0
# A request's head. Kuma: 1 s, which a client that opens a thousand connections at once does not keep.
API_HEAD_S = 10.0
# Kuma's write timeout: a client that reads nothing of its answer for so long is let go.
API_WRITE_S = 30.0
# A transaction of many documents: what the store takes as one transaction.
TRANSACTION_BYTES_MAX = 8 * MIB
TRANSACTION_DOCUMENTS_MAX = 1_000  # each may add guards; the store allows 2,000 of them
# No kind nests deeper than about 20; beyond 64 only an attack does.
DOCUMENT_DEPTH_MAX = 64
# YAML aliases may name one node many times: count what it would expand to.
DOCUMENT_NODES_MAX = 200_000
# YAML takes some 30 us for a value, JSON less than one. A text that is longer than a few resources (20 ms of the
# loop) is parsed in a thread; all documents together may have so many values, some ten seconds of it.
YAML_INLINE_BYTES_MAX = 8 << 10
YAML_NODES_MAX = 400_000
YAML_MERGES_MAX = (
    16  # into one map; between two looks at what they come to it grows no more than so many times
)
# Kuma's: the default page and the largest one.
PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1_000
# What raftstore accepts as request id and as short texts.
REQUEST_ID_BYTES_MAX = 128
REASON_BYTES_MAX = 512

# Texts of resources that are kept for the next answer: some 70,000 proxies.
DOCUMENTS_BYTES_MAX = 64 * MIB
# Messages of commits that are kept for the other watchers: two of the largest transactions.
WATCH_MESSAGES_BYTES_MAX = 16 * MIB

# Users whose roles are remembered: a request of one more looks them up again.
ACCESS_USERS_MAX = 4_096

# --- time ---------------------------------------------------------------------------------
# How long a read waits for an index that this replica does not have yet; longer than an
# election, shorter than the patience of a client.
INDEX_WAIT_S = 5.0
WRITE_TIMEOUT_S = 5.0
# Beyond this wait of the oldest write a worker takes no more (cp/backpressure.py): half of what each
# has. A few may be slow all the same, e.g. while a leader is elected: they wait.
WRITES_WAIT_S_MAX = WRITE_TIMEOUT_S / 2
WRITES_FEW = 256
WRITES_RETRY_AFTER_S = 1.0
# A guard that failed because somebody else wrote in between: look again, decide again.
WRITE_RACES_MAX = 10
# Kuma: 5 s, ten minutes for what must exist after a start; here until it is done.
DEFAULTS_RETRY_S = 1.0

# --- watching and history -----------------------------------------------------------------
# Commits kept in a worker with the view after each: structure is shared, so one costs
# about its own changes. Enough for a rollback of an hour of busy operation.
HISTORY_COMMITS_MAX = 20_000
HISTORY_BYTES_MAX = 128 * MIB
# Resources in one message of a watch's snapshot: some 10 ms of the loop, half a megabyte.
WATCH_CHUNK = 500
# Events that an answer of /history looks at in one go: some 3 ms of the loop.
HISTORY_SLICE = 5_000
# Bytes of the export of the history that are made before they are sent: some 5 ms of the loop.
HISTORY_CHUNK = 64 << 10
# A client's clock may be ahead of ours by so much before "now" is called the future.
AT_AHEAD_S_MAX = 5.0
WATCH_BOOKMARK_S = 10.0
WATCHES_MAX = 1_000

# --- dry runs -----------------------------------------------------------------------------
# Proxies that a dry run derives: the first question of a worker costs some 5 ms for each, the next
# ones what changes.
IMPACT_PROXIES_MAX = 2_000
# Somebody who plans asks again within minutes; afterwards the memory is worth more.
IMPACT_IDLE_S = 120.0
# An answer is read by a person: so many proxies, and resources of each, are named; all are counted.
DRY_RUN_PROXIES_MAX = 200
DRY_RUN_RESOURCES_MAX = 50

# --- processes ----------------------------------------------------------------------------
RESTART_BACKOFF_S_MIN = 0.2
RESTART_BACKOFF_S_MAX = 10.0
# A worker that ran this long was healthy: the back-off begins anew.
HEALTHY_AFTER_S = 30.0
STOP_TIMEOUT_S = 10.0
FEED_RETRY_S_MAX = 2.0
# Following the feed without a turn for anything else.
FOLD_S_MAX = 0.005
# A replica that joins asks so often whether it belongs to the cluster by now.
CATCH_UP_RETRY_S = 0.2
