"""PostgreSQL, the truth: every read and write of Relay's tables.

One function here per file in `sql/queries`, under the same name, so that a statement and its caller are found from each
other. Functions take a connection and leave transactions to their callers unless their docstrings say otherwise.
Nothing here talks to Kafka or Redis: what must be published after the commit is returned as job references.
"""
