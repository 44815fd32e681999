"""Relay's tests: facts about each part, shown on real servers and real processes."""
