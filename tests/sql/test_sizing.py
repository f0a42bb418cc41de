from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastlane.sql.sizing import MOST, Sharing, size_of


def test_the_arithmetic_is_shown() -> None:
    size = size_of(server=100, kept=3, sharing=Sharing(instances=2, workers=4, databases=2))
    assert size.most == 1
    assert not size.short
    assert size.arithmetic == (
        "(100 connections − 3 kept by the server − 3 reserved)"
        " / (2 instance(s) · 2 databases · 4 worker(s) · 2 generations)"
        " − 1 for LISTEN = 1; at most 10, at least 1: 1"
    )


def test_one_machine_with_few_workers_gets_the_most() -> None:
    assert size_of(server=100, kept=3, sharing=Sharing(workers=2)).most == MOST


def test_what_a_broker_in_the_database_takes_is_left_to_it() -> None:
    size = size_of(server=100, kept=3, sharing=Sharing(workers=4, messages=5))
    assert size.most == 5
    assert " − 1 for LISTEN − 5 for messages = 5;" in size.arithmetic


def test_what_cron_jobs_and_the_outbox_take_is_left_to_them() -> None:
    size = size_of(server=100, kept=3, sharing=Sharing(instances=2, workers=4, cron=1, outbox=2))
    assert size.most == 3
    assert size.arithmetic == (
        "(100 connections − 3 kept by the server − 3 reserved − 4 for the outbox)"
        " / (2 instance(s) · 4 worker(s) · 2 generations)"
        " − 1 for LISTEN − 1 for cron jobs = 3; at most 10, at least 1: 3"
    )


@given(
    server=st.integers(10, 5000),
    kept=st.integers(0, 5),
    instances=st.integers(1, 10),
    workers=st.integers(1, 64),
    databases=st.integers(1, 4),
    cron=st.integers(0, 1),
    outbox=st.integers(0, 2),
)
def test_all_workers_of_two_generations_fit_unless_it_is_said_that_they_do_not(
    server: int, kept: int, instances: int, workers: int, databases: int, cron: int, outbox: int
) -> None:
    sharing = Sharing(instances=instances, workers=workers, databases=databases, cron=cron, outbox=outbox)
    size = size_of(server=server, kept=kept, sharing=sharing)
    assert 1 <= size.most <= MOST
    everybody = (size.most + 1 + cron) * 2 * workers * databases * instances + outbox * databases * instances
    assert size.short or everybody <= server - kept - 3
