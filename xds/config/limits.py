"""Limits of the derived configuration, and why they are what they are."""

# Proxies per worker; a thousand proxies share most resources, so what grows is the plans and the
# sets of subscribers (about 100 KB per proxy in a mesh of a thousand services).
PROXIES_MAX = 10_000

# Derivations run per slice before the loop gets its turn: at 0.1 to 0.5 ms each a few milliseconds.
SLICE = 16

# Proxies whose own Dataplane changed that one slice plans anew, ahead of all else: each may take a
# few hundred derivations that are not shared yet.
SLICE_PROXIES = 2

# Seconds for which a proxy whose stream ended is kept derived: Envoy's longest pause before it tries
# again (30 s, with a few tries before that), so what is kept is what comes back.
LINGER_S = 30.0
