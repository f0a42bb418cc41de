-- Cron jobs: since when each has its schedule, and a row for each tick that somebody took.
CREATE TABLE fastlane.cron_job (
    name text PRIMARY KEY,
    schedule text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE fastlane.cron_run (
    job text NOT NULL,
    scheduled_at timestamptz NOT NULL,
    owner text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'skipped')),
    attempt integer NOT NULL,
    lease_until timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    error text,
    PRIMARY KEY (job, scheduled_at)
);

CREATE INDEX cron_run_unfinished ON fastlane.cron_run (job, scheduled_at) WHERE state IN ('queued', 'running');
