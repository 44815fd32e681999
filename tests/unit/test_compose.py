"""compose.yaml, as far as it can be judged without a container engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from relay.config.variables import known_names

COMPOSE: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_it_runs_the_stores_a_migration_and_both_roles() -> None:
    assert set(SERVICES) == {"postgres", "redis", "kafka", "migrate", "serve", "work"}
    assert [SERVICES[name]["command"] for name in ("migrate", "serve", "work")] == [["migrate"], ["serve"], ["work"]]


def test_every_relay_variable_in_it_is_one_that_relay_knows() -> None:
    used = {
        name for service in SERVICES.values() for name in service.get("environment", ()) if name.startswith("RELAY_")
    }
    assert used
    assert used <= set(known_names())


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_server_has_a_health_check_and_roles_wait_for_the_migration() -> None:
    assert all("healthcheck" in SERVICES[name] for name in ("postgres", "redis", "kafka", "serve"))
    for role in ("serve", "work"):
        assert SERVICES[role]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_what_must_last_lies_on_named_volumes() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert mounted == set(COMPOSE["volumes"]) == {"postgres", "kafka"}
    directory = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka:{directory}"]
