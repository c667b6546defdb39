"""Policies: which apply to a proxy, what they say together, and which of them said what.

The way from stored policies to a configuration, one module each, all pure:

    targetref   which policies of a kind select a proxy (`matched`), least important first
    traits      what of a proxy matters to policies, so that equal proxies share the selection
    order       the one order of importance that this and all merging follows
    outbound    `to`: merged confs per destination (`outbound_rules`, `conf_for`)
    inbound     `rules` (and `from`): confs per inbound (`inbound_rules`)
    subset      `from` by tags of the client, for policies that still use them
    single      policies with one `default` (`single_rule`)
    typed       a merged conf as the typed value of its kind
    explain     the policy behind each leaf of a merged conf, and the policies passed over
    documents   all of it, as the inspection API shows it

Example: the timeouts of a proxy towards one port of a service.

    found = matched(reader, dataplane, "MeshTimeout")
    rules = outbound_rules(reader, "MeshTimeout", dataplane.mesh, found.policies)
    rule = rules.conf_for(kri_of(service), "http")
    timeouts = typed("MeshTimeout", rule.conf) if rule else None     # and rule.origins

`found.key` names the policies; proxies with equal keys have equal outbound rules, so these are computed and
kept once per key.  Reads go through the reader alone, so an engine knows when they have to be computed again.
"""
