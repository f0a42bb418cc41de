-- Which messages were handled: subscriptions with once=. A row is committed together with what its handler wrote.
CREATE TABLE fastlane.inbox (
    subscription text NOT NULL,
    message_id text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, message_id)
);
CREATE INDEX inbox_handled_at ON fastlane.inbox (handled_at);
