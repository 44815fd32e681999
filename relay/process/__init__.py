"""Run one command so well that nothing of it is ever left behind.

`run` is the way in: one `Execution` per attempt, built from a `Command`. Everything here is about the machine it runs on
(processes, pipes, files, limits); databases, brokers and locks are unknown here. `guard` is the small parent process that
kills what a dead or stalled worker leaves, and `tree` the part of it that both share.
"""
