"""What the control plane itself writes into a mesh: services, workloads, addresses, host names.

Kuma's generators are timers that read everything every few seconds. These are derivations on the
engine that xDS stands on: an event runs what read it, and only a result that differs is written.

    services.py    MeshServices of the services that inbounds are tagged with
    workloads.py   Workloads of the label kuma.io/workload
    hostnames.py   which host names HostnameGenerators give to which service
    proxies.py     the proxies behind a service or workload, counted
    statuses.py    the status of each destination
    addresses.py   virtual addresses
    keeper.py      runs them on the replica that leads, and writes
"""
