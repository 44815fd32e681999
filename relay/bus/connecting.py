"""How clients reach Kafka, and the topics they need there.

Topics are created explicitly, with their partitions, before anything else asks for them: a broker that creates topics on
first use would give them its own default, often one partition, and so one worker. Tansu answers error 36 (exists) for an
existing topic, like Kafka, without raising; it can't add partitions, so a topic that has fewer is used as it is. (Also:
its groups begin with generation 0, and aiokafka leaves a group only from generation 1 on, so the place of a group's very
first member is taken only when its session has ended.)
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from relay import log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from aiokafka import AIOKafkaConsumer

PARTITIONS: Final = 32
CALL_TIMEOUT_S: Final = 10.0
_MOMENT_S = 0.3  # a broker that answers at all does so in milliseconds
_COPIES = 3
_EXISTS = 36
_CREATE_PARTITIONS = 37  # a request that every Kafka knows
_REQUEST_TIMEOUT_MS = 10_000

_log = log.get(__name__)
# aiokafka reports every try that fails as an error, many a second while Kafka is away; Relay itself says when it goes and comes.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class KafkaSettings(Protocol):
    """What of the settings a Kafka client needs."""

    @property
    def kafka_brokers(self) -> tuple[str, ...]:
        """Where to find the cluster: host:port."""

    @property
    def kafka_security_protocol(self) -> str:
        """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""

    @property
    def kafka_sasl_mechanism(self) -> str | None:
        """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""

    @property
    def kafka_sasl_username(self) -> str | None:
        """The user, with SASL."""

    @property
    def kafka_sasl_password(self) -> str | None:
        """The user's password."""

    @property
    def kafka_ca_file(self) -> str | None:
        """Certificates to trust, with SSL; None: the system's."""


class Client(Protocol):
    """Any of aiokafka's clients."""

    async def start(self) -> None:
        """Connect."""


def options(settings: KafkaSettings) -> dict[str, Any]:
    """Give the arguments that all of aiokafka's clients share."""
    protocol = settings.kafka_security_protocol
    shared: dict[str, Any] = {
        "bootstrap_servers": list(settings.kafka_brokers),
        "security_protocol": protocol,
        "request_timeout_ms": _REQUEST_TIMEOUT_MS,
        "client_id": "relay",
    }
    if protocol.endswith("SSL"):
        shared["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file)
    if protocol.startswith("SASL"):
        shared["sasl_mechanism"] = settings.kafka_sasl_mechanism or "PLAIN"
        shared["sasl_plain_username"] = settings.kafka_sasl_username
        shared["sasl_plain_password"] = settings.kafka_sasl_password
    return shared


async def ensure_topics(settings: KafkaSettings, names: Collection[str]) -> None:
    """Create the topics that are missing. Raises aiokafka's errors or TimeoutError when the cluster can't be reached."""
    async with asyncio.timeout(CALL_TIMEOUT_S), _admin(settings) as admin:
        brokers = (await admin.describe_cluster())["brokers"]
        copies = min(_COPIES, len(brokers))  # aiokafka can't ask for the broker's own default
        answer = await admin.create_topics([NewTopic(name, PARTITIONS, copies) for name in sorted(names)])
        existing = []
        for name, code, *rest in answer.topic_errors:
            if code == _EXISTS:
                existing.append(name)
            elif code:
                _log.warning("topic.not_created", topic=name, code=code, error=rest[0] if rest else None)
        if existing:
            await _widen(admin, existing)


async def start(client: Client, *, within_s: float) -> None:
    """Start a client. Raises aiokafka's errors, OSError or TimeoutError.

    aiokafka forgets the connection of a start that is cancelled as the broker is asked for its cluster, and `stop` closes only
    what is known: so a start that was begun is left a moment to come that far.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        async with asyncio.timeout(within_s):
            await asyncio.shield(starting)
    finally:
        await asyncio.wait({starting}, timeout=_MOMENT_S)
        starting.cancel()
        await asyncio.wait({starting})


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**options(settings))
    try:
        await start(admin, within_s=CALL_TIMEOUT_S)
        yield admin
    finally:
        await admin.close()


def wakes_fetches(consumer: AIOKafkaConsumer) -> bool:
    """Tell whether the broker answers a waiting fetch as soon as there is a message: Kafka does, Tansu doesn't.

    Told by what requests the connected brokers know; aiokafka has no public way to ask.
    """
    connections = consumer._client._conns.values()  # noqa: SLF001
    return any(_CREATE_PARTITIONS in (connection._versions or ()) for connection in connections)  # noqa: SLF001


async def _widen(admin: AIOKafkaAdminClient, names: Collection[str]) -> None:
    """Give topics that were made on first use their full number of partitions, where the broker can."""
    narrow = {
        topic["topic"]: NewPartitions(PARTITIONS)
        for topic in await admin.describe_topics(list(names))
        if not topic["error_code"] and len(topic["partitions"]) < PARTITIONS
    }
    if narrow:
        try:
            await admin.create_partitions(narrow)
        except (KafkaError, OSError) as error:
            _log.info("topic.narrow", topics=sorted(narrow), error=repr(error))
