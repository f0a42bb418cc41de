from __future__ import annotations

import pytest

from fastlane.errors import ConfigurationError
from fastlane.resources.quantities import octets, seconds
from fastlane.server.options import OPTIONS, ServeOptions
from fastlane.supervisor.settings import Address

BY_NAME = {option.name: option for option in OPTIONS}


def gather(flags=None, environment=None, file=None) -> ServeOptions:
    return ServeOptions.gather(flags or {}, environment or {}, file or {})


def test_the_defaults_are_those_of_the_fields():
    assert gather() == ServeOptions()
    assert ServeOptions().host == "127.0.0.1"
    assert ServeOptions().port == 8000
    assert ServeOptions().keep_alive == 75.0


def test_a_flag_beats_the_environment_which_beats_the_file():
    file = {"port": 1, "backlog": 1, "threads": 1}
    environment = {"FASTLANE_PORT": "2", "FASTLANE_BACKLOG": "2"}
    options = gather({"port": "3", "backlog": None}, environment, file)
    assert (options.port, options.backlog, options.threads) == (3, 2, 1)


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("FASTLANE_PORT", "77")
    assert ServeOptions.gather().port == 77


def test_names_that_people_know_count_but_ours_beat_them():
    assert gather(environment={"WEB_CONCURRENCY": "3"}).workers == 3
    assert gather(environment={"WEB_CONCURRENCY": "3", "FASTLANE_WORKERS": "2"}).workers == 2
    assert gather(environment={"FORWARDED_ALLOW_IPS": "*"}).forwarded_allow_ips == "*"
    assert gather(environment={"WEB_CONCURRENCY": ""}).workers == 1


def test_a_value_of_the_file_may_stand_in_the_environment():
    assert gather(environment={"LISTEN": "81"}, file={"port": {"env": "LISTEN"}}).port == 81
    with pytest.raises(ConfigurationError, match=r"fastlane\.toml: serve\.port: the variable LISTEN is not set"):
        gather(file={"port": {"env": "LISTEN"}})
    with pytest.raises(ConfigurationError, match=r"expected a value or \{ env = "):
        gather(file={"port": {"file": "x"}})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("workers", "auto", "auto"),
        ("workers", "4", 4),
        ("workers", 4, 4),
        ("access_log", "off", False),
        ("access_log", "1", True),
        ("access_log", True, True),
        ("uds_permissions", "660", 0o660),
        ("uds_permissions", "0o600", 0o600),
        ("uds_permissions", 0o640, 0o640),
        ("timeout", "1m", 60.0),
        ("max_rss", "1.5 GiB", 1.5 * 2**30),
        ("log_format", "JSON", "json"),
        ("timeout", "0", None),
        ("health_path", "/-/healthz", "/-/healthz"),
    ],
)
def test_values_are_read(name, text, value):
    assert getattr(gather({name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("workers", "0", "auto, or a whole number from 1 to 1024"),
        ("workers", "many", "auto, or a whole number"),
        ("port", "70000", "a whole number from 0 to 65535"),
        ("port", True, "a whole number"),
        ("backlog", "-1", "a whole number from 1"),
        ("host", "", "a text that is not empty"),
        ("access_log", "perhaps", "on or off"),
        ("uds_permissions", "999", "octal permissions"),
        ("uds_permissions", 0o1777, "octal permissions"),
        ("boot_timeout", "0", "more than zero"),
        ("boot_timeout", "soon", "a duration"),
        ("max_rss", "much", "a size"),
        ("health_path", "healthz", "a path such as /healthz"),
        ("ready_path", "/ready?now", "a path such as /healthz"),
        ("log_level", "loud", "one of debug, info, warning, error, critical"),
    ],
)
def test_a_value_that_can_not_be_used_says_where_it_stands_and_what_was_expected(name, text, expected):
    option = BY_NAME[name]
    with pytest.raises(ConfigurationError) as caught:
        gather({name: text})
    assert str(caught.value).startswith(f"{option.flag}: expected {expected}")
    assert repr(text) in str(caught.value)
    with pytest.raises(ConfigurationError, match=rf"fastlane\.toml: serve\.{name}: expected"):
        gather(file={name: text})
    if isinstance(text, str) and text:
        with pytest.raises(ConfigurationError, match=f"^{option.variable}: expected"):
            gather(environment={option.variable: text})


def test_all_mistakes_are_told_at_once_and_contradictions_when_there_are_none():
    file = {"prot": 1, "port": "x", "bakclog": 1, "uds": {"env": "GONE"}}
    with pytest.raises(ConfigurationError) as caught:
        gather({"workers": "-1"}, environment={"FASTLANE_LOG_LEVEL": "loud"}, file=file)
    told = str(caught.value).splitlines()
    assert sorted(line.split(": ")[0 if line.startswith(("-", "F")) else 1] for line in told) == [
        "--workers",
        "FASTLANE_LOG_LEVEL",
        "serve.bakclog",
        "serve.port",
        "serve.prot",
        "serve.uds",
    ]
    with pytest.raises(ConfigurationError, match=r"--uds and --fd .*\n--health-host needs"):
        gather({"uds": "s", "fd": 3, "health_host": "::1"})


def test_a_password_is_not_shown():
    with pytest.raises(ConfigurationError) as caught:
        gather({"keyfile_password": 123456})
    assert "123456" not in str(caught.value)


def test_a_key_that_nobody_knows_is_refused_with_what_was_probably_meant():
    with pytest.raises(ConfigurationError, match=r"serve\.worker: there is no such option\. Did you mean 'workers'\?"):
        gather(file={"worker": 2})
    with pytest.raises(ConfigurationError, match=r"serve\.zzz: there is no such option\.$"):
        gather(file={"zzz": 2})
    with pytest.raises(ConfigurationError, match=r"serve\.config"):
        gather(file={"config": "other.toml"})


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"uds": "s", "fd": 3}, "--uds and --fd"),
        ({"keyfile": "k"}, "--keyfile needs --certfile"),
        ({"health_host": "::1"}, "--health-host needs --health-port"),
        ({"health_path": "/h", "ready_path": "/h"}, "--health-path and --ready-path"),
        ({"limit_request_line": "64KiB"}, "--limit-request-line"),
        ({"run": "http", "subscriptions": "mail"}, "--subscriptions mail and --run http contradict"),
    ],
)
def test_options_that_contradict_are_refused(flags, text):
    with pytest.raises(ConfigurationError, match=text):
        gather(flags)


def test_every_option_has_a_flag_a_variable_a_key_and_a_help():
    for option in OPTIONS:
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.variable == "FASTLANE_" + option.name.upper()
        assert option.key == (None if option.name == "config" else option.name)
        assert option.help.endswith(".")
        assert option.section
    assert BY_NAME["access_log"].negative_flag == "--no-access-log"
    assert BY_NAME["port"].negative_flag == ""


def test_every_default_is_shown_as_one_would_type_it():
    shown = {option.name: option.shown_default for option in OPTIONS}
    assert shown["uds_permissions"] == "0666"
    assert shown["access_log"] == "on"
    assert shown["server_header"] == "off"
    assert shown["timeout"] == "30"
    assert shown["max_rss"] == ""
    for option in OPTIONS:
        if option.shown_default and option.name != "app_dir":
            assert option.read(option.shown_default) == option.default


def test_settings_say_where_to_listen():
    assert gather({"port": 1}).settings("a:app").addresses == (Address(host="127.0.0.1", port=1),)
    assert gather({"uds": "s"}).settings("a:app").addresses == (Address(path="s", permissions=0o666),)
    assert gather({"fd": 3}).settings("a:app").addresses == (Address(fd=3),)


def test_settings_say_where_the_supervisor_answers():
    settings = gather().settings("a:app")
    assert (settings.health, settings.control, settings.metrics) == (None, None, False)
    settings = gather({"host": "0.0.0.0", "health_port": 9, "control_socket": "c", "metrics": True}).settings("a:app")
    assert settings.health == Address(host="0.0.0.0", port=9)
    assert settings.control == Address(path="c", permissions=0o600)
    assert settings.metrics
    own = gather({"health_port": 9, "health_host": "::1"}).settings("a:app")
    assert own.health == Address(host="::1", port=9)


def test_settings_carry_the_options_to_the_worker():
    settings = gather({"workers": "auto", "certfile": "c", "keep_alive": 7}).settings("a:app")
    assert settings.options["app"] == "a:app"
    assert settings.options["serve"]["certfile"] == "c"
    assert settings.workers >= 1
    assert settings.scheme == "https"
    assert settings.idle_timeout == 7.0


def test_durations_have_units():
    assert [seconds(text) for text in ("250ms", "2", "1.5s", "2m", "1h", "1d", 3)] == [
        0.25,
        2,
        1.5,
        120,
        3600,
        86400,
        3,
    ]
    for wrong in ("", "1 week", "-1", -1, float("inf"), True, None):
        with pytest.raises(ValueError, match="a duration"):
            seconds(wrong)


def test_sizes_have_units():
    assert [octets(text) for text in ("1", "2K", "2KiB", "2kB", "1M", "1MB", "1GiB", 5, "7 b")] == [
        1, 2048, 2048, 2000, 2**20, 10**6, 2**30, 5, 7,
    ]  # fmt: skip
    for wrong in ("", "1 TiB", "-1", -1, True, 1.5):
        with pytest.raises(ValueError, match="a size"):
            octets(wrong)


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        ("http", ("http",)),
        ("cron, SUBSCRIPTIONS", ("subscriptions", "cron")),
        (["cron", "http", "cron"], ("http", "cron")),
    ],
)
def test_what_the_workers_do_is_a_list(value, roles):
    assert gather({"run": value}).run == roles


@pytest.mark.parametrize("value", ["", "http,,cron", "requests", [], [1], 3])
def test_what_workers_can_not_do_is_refused(value):
    with pytest.raises(ConfigurationError, match="some of http, subscriptions, cron, separated by commas"):
        gather(file={"run": value})


def test_workers_without_http_listen_nowhere():
    assert gather({"run": "subscriptions,cron"}).settings("a:app").addresses == ()
    assert len(gather({"run": "http"}).settings("a:app").addresses) == 1


def test_subscriptions_are_names():
    assert gather({"subscriptions": "mail, audit"}).subscriptions == ("mail", "audit")
    with pytest.raises(ConfigurationError, match="names, separated by commas"):
        gather(file={"subscriptions": []})


def test_settings_carry_what_the_resources_are_told():
    settings = gather({"workers": "3", "embedded": True}).settings("a:app", "my.toml", configures_resources=True)
    assert settings.boot == "fastlane.server.worker:boot"
    assert settings.configuration == settings.options["configuration"] == "my.toml"
    assert (settings.options["workers"], settings.options["configures_resources"]) == (3, True)
