"""The pure core: what a job is, which states it may take, and what an attempt's end means for it.

Nothing here does I/O, reads a clock or draws from a global random source: callers hand in times and generators. So every
rule can be tested by property, and the API, the workers and the command line can't disagree about any of them.
"""
