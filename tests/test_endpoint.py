import pytest

from fastlane.endpoint import BodyRule, Endpoint, Match


@pytest.mark.parametrize(("status", "empty"), [(200, False), (204, True), (205, True), (304, True), (404, False)])
def test_a_status_that_forbids_a_body_makes_an_empty_endpoint(status: int, empty: bool) -> None:
    assert Endpoint(lambda request: b"", suspends=False, status=status).empty is empty


def test_a_match_without_variables_has_no_values() -> None:
    endpoint = Endpoint(lambda request: b"", suspends=False, body=BodyRule(None, 5))

    assert Match(endpoint).values == ()
    assert Match(endpoint, ("a",)).endpoint is endpoint
