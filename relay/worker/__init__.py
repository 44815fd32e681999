"""The worker: claims jobs in batches, runs each under a lease, and records how it ended.

    feeds ──▶ claimer ──▶ attempt ──▶ finisher ──▶ aftermath
              lock,claim  run         finish       unlock, publish, hand the named lock on
                              │
                              └▶ shipper (output, while it runs)        heart: beats, renewals, trust

`roster` holds what this worker runs and until when it may. Nothing here decides who owns a job: PostgreSQL does. Nothing
waits for Kafka or Redis: without them the worker is slower, never wrong.
"""
