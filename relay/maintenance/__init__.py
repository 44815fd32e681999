"""Maintenance: what must be done whether or not anybody asks for it. It runs in every `relay serve`.

Dispatch what falls due, expire what was never started, rescue attempts whose worker is lost, keep retention. Each step is
a batch in a transaction of its own and may run in any number of processes at once: they share the work, and none leads.
"""
