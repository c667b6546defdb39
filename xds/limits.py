"""Every limit of the xDS server, each with its reason."""

from __future__ import annotations

# A reconnecting proxy names every resource it has, with 16 digits of version: 100,000 resources
# with names of 80 bytes are about 11 MB. Envoy's node with all its extensions is about 70 KB.
REQUEST_BYTES_MAX = 16 << 20

# Names one client may subscribe to, of one type. Ten times the largest mesh we measure.
NAMES_PER_TYPE_MAX = 100_000

# Types one stream may ask for. Envoy's own are fewer than 15; the rest is a mistake or an attack.
TYPES_PER_STREAM_MAX = 32

# How long a change waits for the acknowledgement of what it refers to (make before break). Envoy
# acknowledges a cluster when it is warm: milliseconds, seconds with slow DNS, 15 s at worst. Longer
# than this, an unrelated change (say, an authorisation rule) should not be kept from the proxy.
ORDER_WAIT_S = 5.0

# On a new stream, a client that had resources names the types it uses one after the other, all at
# once. Removals wait this long for the types that may refer to what is removed.
RESUME_WAIT_S = 1.0

# gRPC's default refuses streams beyond 1,000 that are not accepted yet (3,000 hard). When a replica
# dies, all its proxies arrive at once; refused ones back off and stay without a control plane.
PENDING_STREAMS_MAX = 1_000_000
PENDING_STREAMS_HARD_MAX = 2_000_000

# gRPC cancels streams that waited 30 s to be accepted, whatever their number. Accepting takes a turn of
# the loop each, and a few milliseconds of work follow: of 5,000 proxies the last wait longer. They are not
# stuck but in a queue, which ends; who loses patience leaves it by itself.
ACCEPT_WAIT_MAX_S = 3600

# A first request must follow the opening of a stream. A client that opens and stays silent holds
# memory for nothing. We look so many times within that time whether it is still silent: a loop that was
# busy looks late, and has not read what is there.
FIRST_REQUEST_TIMEOUT_S = 10.0
FIRST_REQUEST_LOOKS = 10

# HTTP/2 pings towards idle clients, so that a proxy that vanished (power, NAT) is noticed.
KEEPALIVE_INTERVAL_S = 30.0
KEEPALIVE_TIMEOUT_S = 10.0

# Clients may ping this often (Envoy's connection_keepalive is usually 10 to 30 s) without gRPC
# answering with GOAWAY "too_many_pings".
CLIENT_PING_INTERVAL_MIN_S = 1.0

# Envoy's message about a rejected configuration, kept per resource for inspection. Envoy itself
# truncates at about this length.
ERROR_CHARS_MAX = 4096

# Streams that are let in in one turn of the loop, at some milliseconds of work each. A loop that falls behind
# finds a burst of tokens after each turn, and would never get out of turns as long as a whole burst.
LET_IN_AT_ONCE = 8

# Streams that are sent a change in one turn of the loop, at 0.1 to 0.3 ms each, and as much again to write it
# and to read the answer: of those who ask in that turn, and of those who had to wait. A few milliseconds each.
SENT_AT_ONCE = 32
SENT_FROM_QUEUE = 32
