"""Limits of the derived configuration, and why they are what they are."""

# Proxies per worker; a thousand proxies share most resources, so what grows is the plans and the
# sets of subscribers (about 100 KB per proxy in a mesh of a thousand services).
PROXIES_MAX = 10_000

# Derivations run per slice before the loop gets its turn: at 0.1 to 0.5 ms each a few milliseconds.
SLICE = 16

# What it costs to take over a changed plan or group of which everything is derived, in derivations: a few
# hundred names are compared.
ADOPTION_COST = 4

# Seconds for which a proxy whose stream ended is kept derived: Envoy's longest pause before it tries
# again (30 s, with a few tries before that), so what is kept is what comes back.
LINGER_S = 30.0

# How many resources an explanation names: endpoints of a large service are each a cause of their
# assignment, and each costs a few derivations to find out.
CAUSES_MAX = 100

# Resources that are tried for a cause, besides policies. Blocks that do not matter are ruled out at
# once, so this bounds memory more than time.
CANDIDATES_MAX = 20_000

# Policies that an explanation tells to be passed over, with their reasons; people read it.
PASSED_OVER_MAX = 500

# Commits that are undone, one after the other, to find the one since which a value is as it is.
COMMITS_TRIED_MAX = 500
