"""What botocore raises, as what the framework knows. No text says anything of a credential."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import aiohttp
from botocore import exceptions as botocore

from fastlane.errors import ConfigurationError, FastlaneError
from fastlane.pubsub.provider import BrokerForbidden, BrokerUnavailable, PublishRefused

__all__ = ["LOST", "Missing", "Verdict", "entry_failure", "judge", "publishing", "talking"]

Verdict = Literal["unavailable", "forbidden", "missing", "refused"]

LOST = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue", "InvalidIdFormat"})
"""Why a message can't be deleted or kept: its lease has ended. The third is what FIFO queues say."""

_MISSING = frozenset({"NotFound", "NotFoundException", "NonExistentQueue", "QueueDoesNotExist", "QueueDeletedRecently"})
_FORBIDDEN = frozenset(
    {
        "AuthorizationError",
        "AuthorizationErrorException",
        "AuthFailure",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "MissingAuthenticationToken",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_LATER = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InternalError",
        "InternalFailure",
        "KmsThrottled",
        "KMSThrottling",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = ("AccessDenied", "KmsAccessDenied", "KMSAccessDenied")
_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


class Missing(BrokerUnavailable):
    """There is no such topic or queue (yet)."""


def judge(code: str, status: int = 400, *, sender: bool = True) -> Verdict:
    """What an error code of SNS, SQS or STS means; ``sender`` is ``SenderFault`` of an entry of a batch."""
    code = code.rpartition(".")[2].partition(":")[0]
    if code in _MISSING:
        return "missing"
    if code in _LATER or status >= 500 or status == 429 or not sender:
        return "unavailable"
    if status in (401, 403) or code in _FORBIDDEN or code.startswith(_DENIED):
        return "forbidden"
    return "refused"


@contextmanager
def talking(what: str) -> Iterator[None]:
    """Raises what a `Source` and an `Administrator` may raise; ``what`` begins the text.

    Raises:
        Missing, BrokerUnavailable, BrokerForbidden, ConfigurationError
    """
    try:
        yield
    except _CAUGHT as error:
        verdict, text = _verdict(error)
        raise _told(verdict, f"{what}: {text}") from None


@contextmanager
def publishing(what: str) -> Iterator[None]:
    """Raises what a `Publisher` may raise.

    Raises:
        BrokerUnavailable, PublishRefused
    """
    try:
        yield
    except _CAUGHT as error:
        verdict, text = _verdict(error)
        raise _published(verdict, f"{what}: {text}") from None


def entry_failure(what: str, entry: Any) -> Exception:
    """An entry of ``Failed`` in the answer to ``publish_batch``."""
    code = str(entry.get("Code", ""))
    verdict = judge(code, sender=bool(entry.get("SenderFault", False)))
    return _published(verdict, f"{what}: {_clean(code, str(entry.get('Message', '')), verdict)}")


_CAUGHT = (botocore.ClientError, botocore.BotoCoreError, aiohttp.ClientError, asyncio.TimeoutError, OSError)


def _verdict(error: Exception) -> tuple[Verdict, str]:
    if isinstance(error, botocore.ClientError):
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        verdict = judge(code, status)
        return verdict, _clean(code, str(told.get("Message", "")), verdict)
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return "forbidden", (
            "there are no credentials"
            "\n    mend: give the provider access_key_id and secret_access_key, or set up what botocore looks for "
            "(AWS_ACCESS_KEY_ID, a profile, a role)"
        )
    if isinstance(error, botocore.NoRegionError):
        return "refused", "there is no region\n    mend: give the provider a region, or set AWS_REGION"
    if isinstance(error, botocore.ParamValidationError | botocore.ProfileNotFound | botocore.InvalidRegionError):
        return "refused", str(error)
    # The others are of the connection, or of fetching credentials. Their texts may contain a URL or a response.
    return "unavailable", f"can't be reached ({type(error).__name__})"


def _clean(code: str, message: str, verdict: Verdict) -> str:
    """For people. What AWS says of a signature repeats the request with its token."""
    if verdict == "forbidden" and "not authorized" not in message:
        return code
    line = _KEY.sub("…", message.strip().partition("\n")[0])[:300]
    return f"{code}: {line}" if line else code


def _told(verdict: Verdict, text: str) -> FastlaneError:
    if verdict == "missing":
        return Missing(f"{text}\n    mend: run `fastlane pubsub provision`")
    if verdict == "unavailable":
        return BrokerUnavailable(text)
    return BrokerForbidden(text) if verdict == "forbidden" else ConfigurationError(text)


def _published(verdict: Verdict, text: str) -> FastlaneError:
    if verdict == "unavailable":
        return BrokerUnavailable(text)
    return PublishRefused(f"{text}\n    mend: run `fastlane pubsub provision`" if verdict == "missing" else text)
