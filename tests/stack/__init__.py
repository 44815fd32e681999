"""The servers that the tests run against, and whole clusters of Relay on top of them.

`pytest --stack=NAME` chooses: `embedded` (from wheels, as `relay dev` starts them), `apache` (Apache Kafka and the system's
Redis), `containers` (testcontainers), `external` (what RELAY_TEST_… names). All are real servers; no store is imitated.
"""

from tests.stack.cluster import Cluster, StartCluster
from tests.stack.stack import NAMES, Stack, start
from tests.stack.waiting import until

__all__ = ["NAMES", "Cluster", "Stack", "StartCluster", "start", "until"]
