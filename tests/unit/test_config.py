"""Configuration: what is read, from where, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from relay import config
from relay.config import urls
from relay.config.variables import GIVEN_TO_JOBS, known_names
from relay.errors import BadConfig
from relay.process import users

DSN = "postgresql://relay@db/relay"


MINIMAL = {"RELAY_DB_DSN": DSN}


# Contract §5's table, by hand: a variable that is renamed or left out by the code must fail here.
DOCUMENTED = {
    "RELAY_DB_DSN": None,
    "RELAY_KAFKA_BROKERS": "localhost:9092",
    "RELAY_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "RELAY_KAFKA_SASL_MECHANISM": None,
    "RELAY_KAFKA_SASL_USERNAME": None,
    "RELAY_KAFKA_SASL_PASSWORD": None,
    "RELAY_KAFKA_CA_FILE": None,
    "RELAY_REDIS_ADDR": "localhost:6379",
    "RELAY_HOST": "127.0.0.1",
    "RELAY_PORT": "4000",
    "RELAY_ALLOWED_HOSTS": None,
    "RELAY_TLS_CERT": None,
    "RELAY_TLS_KEY": None,
    "RELAY_BEHIND_PROXY": "false",
    "RELAY_ENV": "development",
    "RELAY_AUTH": "on",
    "RELAY_API": None,
    "RELAY_TOKEN": None,
    "RELAY_CONCURRENCY": None,
    "RELAY_QUEUES": "default",
    "RELAY_LEASE_TTL": "15s",
    "RELAY_DRAIN_TIMEOUT": "60s",
    "RELAY_ALLOWED_COMMANDS": None,
    "RELAY_RUN_AS": None,
    "RELAY_RETENTION": "30d",
    "RELAY_MAX_BODY": "1M",
    "RELAY_MAX_BATCH": "64M",
}


def load(role: str = "serve", **environ: str) -> config.Settings:
    return config.load({**MINIMAL, **environ}, role=role)


def refusal(role: str = "serve", **environ: str) -> str:
    with pytest.raises(BadConfig) as caught:
        load(role, **environ)
    return caught.value.detail


def test_the_code_reads_exactly_the_documented_variables() -> None:
    """Names and defaults."""
    assert {each.name: each.default for each in config.VARIABLES if each.is_documented} == DOCUMENTED


def test_the_readme_names_every_variable_and_no_other() -> None:
    """The README's table is what users read."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"RELAY_(?!TEST_)[A-Z_]*[A-Z]", text))
    assert set(DOCUMENTED) - named == set()
    assert named - set(known_names()) == set()


def test_defaults_are_the_documented_ones() -> None:
    """The whole record, but for what depends on the machine."""
    settings = load()
    assert settings == config.Settings(db_dsn=DSN, concurrency=settings.concurrency, origins=settings.origins)
    assert settings.concurrency == 4 * len(os.sched_getaffinity(0))


def test_every_value_is_parsed() -> None:
    """One of each kind."""
    settings = load(
        RELAY_KAFKA_BROKERS="a:1, b:2",
        RELAY_REDIS_ADDR="rediss://:p@ss@cache:6380/1",
        RELAY_QUEUES="high,low,high",
        RELAY_LEASE_TTL="1m30s",
        RELAY_RETENTION="7d",
        RELAY_MAX_BODY="2M",
        RELAY_ALLOWED_COMMANDS="/usr/bin/*:/opt/x,/bin/true",
        RELAY_ALLOWED_HOSTS="Relay.example,*",
        RELAY_BEHIND_PROXY="yes",
        RELAY_ENV="Production",
        RELAY_PORT="80",
    )
    assert settings.kafka_brokers == ("a:1", "b:2")
    assert settings.redis_url == "rediss://:p%40ss@cache:6380/1"
    assert settings.queues == ("high", "low")
    assert (settings.lease_ttl_s, settings.retention_s, settings.max_body_bytes) == (90.0, 604800.0, 2 << 20)
    assert settings.allowed_commands == ("/usr/bin/*", "/opt/x", "/bin/true")
    assert settings.allowed_hosts == {"relay.example", "*"}
    assert (settings.behind_proxy, settings.env, settings.port) == (True, "production", 80)


def test_a_flag_beats_the_environment_and_the_origin_is_kept() -> None:
    """Also for repeated flags."""
    settings = config.load(
        {**MINIMAL, "RELAY_PORT": "1", "RELAY_QUEUES": "x"}, flags={"port": "2", "queues": ("a", "b,c")}, role="work"
    )
    assert (settings.port, settings.queues) == (2, ("a", "b", "c"))
    origins = settings.origins
    assert origins["RELAY_PORT"] == "flag"
    assert origins["RELAY_DB_DSN"] == "environment"
    assert origins["RELAY_HOST"] == "default"


def test_flags_merged_into_an_environment_load_as_the_same_settings(tmp_path: Path) -> None:
    """A flag also replaces the variable's file."""
    flags = {"db_dsn": "postgresql://other/db", "queues": ("a", "b")}
    merged = config.merge({"RELAY_DB_DSN_FILE": str(tmp_path / "x"), "RELAY_PORT": "5"}, flags)
    assert merged == {"RELAY_DB_DSN": "postgresql://other/db", "RELAY_QUEUES": "a,b", "RELAY_PORT": "5"}


@pytest.mark.parametrize("password", ["p@ss", "a:b", "a/b", "a#b", "100%", "@:/#%", "p%40", "x?y", "ü b"])
def test_a_password_with_reserved_characters_works_as_it_is(password: str) -> None:
    """And is sent escaped to the libraries."""
    settings = load(RELAY_DB_DSN=f"postgresql://relay:{password}@db.example:5433/jobs?sslmode=require")
    parts = urlsplit(settings.db_dsn)
    expected = "p@" if password == "p%40" else password
    assert (unquote(parts.password or ""), parts.hostname, parts.port) == (expected, "db.example", 5433)
    assert (parts.path, parts.query) == ("/jobs", "sslmode=require")


def test_secrets_are_neither_in_the_repr_nor_in_messages() -> None:
    """Planted ones don't come out."""
    settings = load(
        RELAY_DB_DSN="postgresql://relay:pl@nted@db/relay?password=planted2",
        RELAY_REDIS_ADDR="redis://:planted3@cache",
        RELAY_KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        RELAY_KAFKA_SASL_MECHANISM="PLAIN",
        RELAY_KAFKA_SASL_USERNAME="u",
        RELAY_KAFKA_SASL_PASSWORD="planted4",
    )
    assert "planted" not in repr(settings)
    assert "nted" not in repr(settings)
    for bad in ("mysql://u:planted@h/d", "postgresql://u:planted@h:0/d", "planted", "postgresql://u:planted@h:99999/d"):
        assert "planted" not in refusal(RELAY_DB_DSN=bad)
    assert "planted" not in refusal(RELAY_REDIS_ADDR="cache:planted")


def test_a_masked_address_keeps_all_but_the_password() -> None:
    """So that a person can see which server it is."""
    assert (
        urls.masked("postgresql://relay:x%40y@db:1/j?a=b&password=z")
        == "postgresql://relay:***@db:1/j?a=b&password=***"
    )


def test_an_unknown_variable_is_refused_with_a_suggestion() -> None:
    """A typo must not be ignored."""
    assert refusal(RELAY_LEASE_TLL="15s") == "RELAY_LEASE_TLL is not a setting: did you mean RELAY_LEASE_TTL?"


def test_the_variables_that_jobs_are_given_are_known() -> None:
    """A job may run `relay` itself."""
    assert load(**dict.fromkeys(GIVEN_TO_JOBS, "1")).port == 4000


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """One line, not one per try."""
    told = refusal(RELAY_PORT="99999", RELAY_CONCURRENCY="many", RELAY_AUTH="perhaps")
    assert [name in told for name in ("RELAY_PORT", "RELAY_CONCURRENCY", "RELAY_AUTH")] == [True] * 3
    assert "\n" not in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RELAY_PORT", "0"),
        ("RELAY_PORT", "70000"),
        ("RELAY_PORT", "4000.0"),
        ("RELAY_KAFKA_BROKERS", "localhost"),
        ("RELAY_KAFKA_BROKERS", "a:1,,b:2"),
        ("RELAY_REDIS_ADDR", "localhost"),
        ("RELAY_REDIS_ADDR", "http://localhost:6379"),
        ("RELAY_DB_DSN", "relay"),
        ("RELAY_LEASE_TTL", "2s"),
        ("RELAY_LEASE_TTL", "15"),
        ("RELAY_LEASE_TTL", "1h"),
        ("RELAY_QUEUES", "Upper"),
        ("RELAY_ALLOWED_COMMANDS", "bin/*"),
        ("RELAY_ALLOWED_COMMANDS", "/usr/../bin/*"),
        ("RELAY_ENV", "staging"),
        ("RELAY_MAX_BODY", "1000"),
        ("RELAY_RETENTION", "9s"),
        ("RELAY_HOST", "localhost:80"),
        ("RELAY_KAFKA_CA_FILE", "/nowhere.pem"),
        ("RELAY_KAFKA_SASL_USERNAME", "u"),
        ("RELAY_TLS_CERT", "/etc/passwd"),
    ],
)
def test_a_bad_value_is_refused_by_name(variable: str, value: str) -> None:
    """The line begins with the variable to change."""
    assert refusal(**{variable: value}).startswith("RELAY_")
    assert variable in refusal(**{variable: value})


def test_the_database_is_required_but_not_for_dev() -> None:
    """`relay dev` starts one."""
    for role in ("serve", "work", "migrate", "token", "doctor"):
        with pytest.raises(BadConfig, match="RELAY_DB_DSN is required"):
            config.load({}, role=role)
    assert config.load({}, role="dev").db_dsn == ""


def test_auth_can_be_off_only_on_loopback_and_outside_production() -> None:
    """Anybody could run commands."""
    assert load(RELAY_AUTH="off").auth is False
    assert "RELAY_AUTH" in refusal(RELAY_AUTH="off", RELAY_ENV="production")
    assert "RELAY_AUTH" in refusal(RELAY_AUTH="off", RELAY_HOST="0.0.0.0", RELAY_BEHIND_PROXY="true")


def test_off_loopback_tls_is_needed_unless_a_proxy_ends_it() -> None:
    """Only for the role that listens."""
    assert "RELAY_TLS_CERT" in refusal(RELAY_HOST="0.0.0.0")
    assert load(RELAY_HOST="0.0.0.0", RELAY_BEHIND_PROXY="true").host == "0.0.0.0"
    assert load("work", RELAY_HOST="0.0.0.0").host == "0.0.0.0"


def test_allowed_hosts_follow_the_listening_host_but_not_a_wildcard() -> None:
    """A wildcard is no name that anybody calls."""
    loopback = {"localhost", "127.0.0.1", "::1"}
    assert load(RELAY_HOST="relay.lan", RELAY_BEHIND_PROXY="1").allowed_hosts == loopback | {"relay.lan"}
    assert load(RELAY_HOST="::", RELAY_BEHIND_PROXY="1").allowed_hosts == loopback


def test_run_as_needs_root_and_a_user_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at the start, not at the first job."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs a worker started as root" in refusal("work", RELAY_RUN_AS="root")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "no such user" in refusal("work", RELAY_RUN_AS="nobody-of-this-name")
    assert load("work", RELAY_RUN_AS="root").run_as == "root"
    assert load("migrate", RELAY_RUN_AS="nobody-of-this-name").db_dsn == DSN


@pytest.mark.parametrize(
    "user", ["root", "0", "nobody", "65534", "4194304123", "9" * 30, "9" * 5000, "no-such-user", "-1"]
)
def test_run_as_takes_the_users_that_a_job_can_be_started_as(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name or decimal id, as the start of a job looks them up."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    try:
        users.find_user(user)
    except (KeyError, ValueError):
        assert "no such user" in refusal("work", RELAY_RUN_AS=user)
    else:
        assert load("work", RELAY_RUN_AS=user).run_as == user


def test_a_secret_comes_from_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    """Without the file's last newline."""
    file = tmp_path / "dsn"
    file.write_text(f"{DSN}\n")
    file.chmod(0o600)
    settings = config.load({"RELAY_DB_DSN_FILE": str(file)}, role="serve")
    assert (settings.db_dsn, settings.origins["RELAY_DB_DSN"]) == (DSN, f"file {file}")
    file.chmod(0o640)
    with pytest.raises(BadConfig, match="chmod 600"):
        config.load({"RELAY_DB_DSN_FILE": str(file)}, role="serve")


def test_a_value_and_its_file_together_are_refused() -> None:
    """One of them would be ignored."""
    assert "both set" in refusal(RELAY_DB_DSN_FILE="/x")


def test_a_missing_or_empty_secrets_file_is_named(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(BadConfig, match=r"/nowhere, which can't be read: No such file"):
        config.load({"RELAY_DB_DSN_FILE": "/nowhere"}, role="serve")
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    with pytest.raises(BadConfig, match="which is empty"):
        config.load({"RELAY_DB_DSN_FILE": str(empty)}, role="serve")


def test_failpoints_are_refused_in_production() -> None:
    """They kill processes."""
    assert load(RELAY_FAILPOINTS="after_claim=kill9").failpoints == "after_claim=kill9"
    assert "RELAY_FAILPOINTS" in refusal(RELAY_FAILPOINTS="x=kill9", RELAY_ENV="production")
