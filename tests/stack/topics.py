"""Relay's topics on the session's Kafka: removed after each test, so that no test reads another's messages."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient


async def remove_all(brokers: str) -> None:
    """Delete every topic of Relay."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        topics = [topic for topic in await admin.list_topics() if topic.startswith("relay.")]
        if topics:
            await admin.delete_topics(topics)
    finally:
        await admin.close()
