"""Signups: a request publishes an event, and two subscriptions do what follows from it, each in its own time.

In this directory:

fastlane dev   signups:app
fastlane serve signups:app --embedded

export NSQD_ADDRESS=127.0.0.1:4150
fastlane pubsub provision signups:app --config nsq.toml
fastlane serve            signups:app --config nsq.toml

curl --json '{"email": "ada@example.org"}' http://127.0.0.1:8000/signups
fastlane pubsub dead-letters signups:app send-welcome-mail --embedded

The file is the same on every broker: which one stands behind the topic is decided by the configuration. Beside nsq.toml
there are aws.toml and gcp.toml.
"""

from __future__ import annotations

import logging
from typing import Annotated
from uuid import UUID, uuid4

from msgspec import Meta, Struct

from fastlane import App
from fastlane.pubsub import Attribute, Message, Reject, Retry, Topic

logger = logging.getLogger("signups")

app = App(title="Signups")


class Signup(Struct):
    email: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
    country: Annotated[str, Meta(pattern="^[a-z]{2}$")] = "se"


class Accepted(Struct):
    user_id: UUID
    message_id: str


class UserSignup(Struct):
    user_id: UUID
    email: str
    country: Annotated[str, Attribute()]


user_signups = Topic("user-signups", UserSignup, delivery="at-least-once")


@app.post("/signups", status=202)
async def sign_up(signup: Signup) -> Accepted:
    user_id = uuid4()  # a real application writes a row: see examples/blog
    # Answers only when the broker has the message: whatever happens now, the mail will be sent.
    message_id = await user_signups.publish(UserSignup(user_id, signup.email, signup.country))
    return Accepted(user_id, message_id)


@user_signups.subscribe("send-welcome-mail", ack_deadline=30, max_concurrency=20, retry=Retry(min_backoff=1))
async def send_welcome_mail(event: UserSignup) -> None:
    if event.email.endswith("@invalid.example"):
        raise Reject("no mail server takes this address")
    logger.warning("mail to %s: welcome, user %s", event.email, event.user_id)


@user_signups.subscribe("count-swedes", filter={"country": "se"})
async def count_swedes(message: Message[UserSignup]) -> None:
    logger.warning("a signup from Sweden: message %s, attempt %d", message.id, message.attempt)
