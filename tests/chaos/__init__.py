"""Faults: processes killed and stopped, servers wiped, connections cut."""
