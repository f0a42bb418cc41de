"""Signups: a request publishes an event, and two subscriptions do what follows from it, each in its own time.

fastlane dev   signups:app --app-dir examples/signups
fastlane serve signups:app --app-dir examples/signups --embedded
fastlane serve signups:app --app-dir examples/signups --config examples/signups/nsq.toml

The file is the same on every broker: which one stands behind the topic is decided by the configuration.
"""

from __future__ import annotations

import logging
from typing import Annotated

from msgspec import Meta, Struct

from fastlane import App
from fastlane.pubsub import Attribute, Message, Reject, Retry, Topic

logger = logging.getLogger("signups")

app = App(title="Signups")


class Signup(Struct):
    email: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    country: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "se"


class UserSignup(Struct):
    user_id: int
    email: str
    country: Annotated[str, Attribute()]


user_signups = Topic("user-signups", UserSignup, delivery="at-least-once")


class Users:
    """Stands for a database."""

    def __init__(self) -> None:
        self._emails: dict[str, int] = {}

    def add(self, email: str) -> int:
        return self._emails.setdefault(email, len(self._emails) + 1)


users = Users()


@app.post("/signups", status=202)
async def sign_up(signup: Signup) -> dict[str, str | int]:
    user_id = users.add(signup.email)
    # Answers only when the broker has the message: whatever happens now, the mail will be sent.
    message_id = await user_signups.publish(UserSignup(user_id, signup.email, signup.country))
    return {"user_id": user_id, "message_id": message_id}


@user_signups.subscribe("send-welcome-mail", ack_deadline=30, max_concurrency=20, retry=Retry(min_backoff=1))
async def send_welcome_mail(event: UserSignup) -> None:
    if event.email.endswith("@invalid.example"):
        raise Reject("no mail server takes this address")
    logger.warning("mail to %s: welcome, user %d", event.email, event.user_id)


@user_signups.subscribe("count-swedes", filter={"country": "se"})
async def count_swedes(message: Message[UserSignup]) -> None:
    logger.warning("a signup from Sweden: message %s, attempt %d", message.id, message.attempt)
