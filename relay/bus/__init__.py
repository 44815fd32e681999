"""Kafka: the fast way to tell a worker that a job may be claimed.

A message is a hint. What is lost with Kafka is found by stealing, what comes twice is claimed once, and what comes from a
stranger names at most a job id. So nothing here ever fails its caller: `Publisher.publish` drops and counts what it can't
send, `Consumer.fetch` returns nothing while there is no broker, and both connect again for ever in the background.
"""

from __future__ import annotations

from relay.bus.connecting import PARTITIONS, ensure_topics
from relay.bus.consumer import Consumer
from relay.bus.messages import BadMessage, Message, topic
from relay.bus.publisher import Publisher

__all__ = ["PARTITIONS", "BadMessage", "Consumer", "Message", "Publisher", "ensure_topics", "topic"]
