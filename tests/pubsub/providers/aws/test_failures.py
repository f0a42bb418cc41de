from __future__ import annotations

import aiohttp
import pytest
from botocore import exceptions as botocore

from fastlane.errors import ConfigurationError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused
from fastlane.pubsub.providers.aws.failures import Missing, entry_failure, judge, publishing, talking


def answer(code: str, message: str = "", status: int = 400) -> botocore.ClientError:
    told = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.ClientError(told, "Publish")


@pytest.mark.parametrize(
    ("code", "status", "verdict"),
    [
        ("NotFound", 404, "missing"),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, "missing"),
        ("QueueDoesNotExist", 400, "missing"),
        ("Throttling", 400, "unavailable"),
        ("RequestThrottled", 403, "unavailable"),
        ("ExpiredToken", 403, "unavailable"),
        ("InternalError", 500, "unavailable"),
        ("Whatever", 503, "unavailable"),
        ("Whatever", 429, "unavailable"),
        ("AuthorizationError", 403, "forbidden"),
        ("AccessDeniedException", 400, "forbidden"),
        ("KMSAccessDenied", 400, "forbidden"),
        ("SignatureDoesNotMatch", 403, "forbidden"),
        ("403", 403, "forbidden"),
        ("InvalidParameter", 400, "refused"),
    ],
)
def test_a_code_has_a_verdict(code, status, verdict):
    assert judge(code, status) == verdict


@pytest.mark.parametrize(
    ("raised", "consuming", "publishes"),
    [
        (answer("NotFound", "Topic does not exist"), Missing, PublishRefused),
        (answer("Throttling", "Rate exceeded"), BrokerUnavailable, BrokerUnavailable),
        (answer("AccessDenied", "User: x is not authorized to perform: y"), BrokerForbidden, PublishRefused),
        (answer("InvalidParameter", "Invalid parameter: Message"), ConfigurationError, PublishRefused),
        (botocore.NoCredentialsError(), BrokerForbidden, PublishRefused),
        (botocore.PartialCredentialsError(provider="env", cred_var="y"), BrokerForbidden, PublishRefused),
        (botocore.NoRegionError(), ConfigurationError, PublishRefused),
        (botocore.ProfileNotFound(profile="x"), ConfigurationError, PublishRefused),
        (botocore.EndpointConnectionError(endpoint_url="http://u:p@h"), BrokerUnavailable, BrokerUnavailable),
        (botocore.CredentialRetrievalError(provider="x", error_msg="key"), BrokerUnavailable, BrokerUnavailable),
        (aiohttp.ServerDisconnectedError(), BrokerUnavailable, BrokerUnavailable),
        (TimeoutError(), BrokerUnavailable, BrokerUnavailable),
        (ConnectionResetError(), BrokerUnavailable, BrokerUnavailable),
    ],
)
def test_what_botocore_raises_is_told_in_our_words(raised, consuming, publishes):
    for told, kind in ((talking, consuming), (publishing, publishes)):
        with pytest.raises(kind, match=r"^topic x: ") as caught, told("topic x"):
            raise raised
        assert type(caught.value) is kind
        assert caught.value.__suppress_context__


def test_what_is_not_of_the_broker_passes():
    for told in (talking, publishing):
        with pytest.raises(ZeroDivisionError), told("topic x"):
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "error",
    [
        answer("SignatureDoesNotMatch", "The Canonical String should have been\n'x-amz-security-token:canary'", 403),
        answer("InvalidParameter", "a key AKIAIOSFODNN7EXAMPLE\nx-amz-security-token:canary"),
        answer("InvalidClientTokenId", "The security token canary is invalid", 403),
        botocore.EndpointConnectionError(endpoint_url="http://user:canary@host"),
        botocore.CredentialRetrievalError(provider="process", error_msg="canary"),
    ],
)
def test_no_text_says_anything_of_a_credential(error):
    with pytest.raises(Exception, match="topic x") as caught, talking("topic x"):
        raise error
    assert "canary" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_an_entry_that_failed_is_refused_where_it_is_the_senders_fault():
    entry = {"Id": "1", "Code": "InvalidParameter", "Message": "Invalid parameter: Message", "SenderFault": True}
    assert isinstance(entry_failure("topic x", entry), PublishRefused)
    assert str(entry_failure("topic x", entry)) == "topic x: InvalidParameter: Invalid parameter: Message"
    assert isinstance(entry_failure("topic x", entry | {"SenderFault": False}), BrokerUnavailable)
    assert isinstance(entry_failure("topic x", {"Code": "Throttled", "SenderFault": True}), BrokerUnavailable)
