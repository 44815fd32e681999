"""Relay runs commands as durable jobs across machines.

PostgreSQL is the truth, Kafka distributes, Redis locks. The package is laid out in floors, and imports point strictly
downward (see `[tool.importlinter]` in `pyproject.toml`): `cli` over the roles (`serve`, `work`, `dev`), over `client`,
`api`, `worker` and `maintenance`, over `process`, over the three adapters `store`, `lease` and `bus`, over the pure `model`.
"""

__version__ = "0.1.0"
