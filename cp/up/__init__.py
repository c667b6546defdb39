"""`raftmesh up`: a whole mesh on one machine, and the story that shows what it does.

Three replicas as processes with TLS between them, a `web` service that calls two
instances of `backend`, an Envoy beside each, and a request loop through all of it.
"""
