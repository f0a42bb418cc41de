-- A broker in PostgreSQL: providers of kind "postgres".
--
-- message    what was published, once, until its last delivery is gone
-- delivery   a message for a subscription; gone when it is acknowledged
--              visible_at  when it may be handed out: the time of publishing, of a retry or delay, or the lease's end;
--                          infinity: blocked, an earlier message of its key is there
--              token       of the lease, 0 without one; the claim's random number + seq, so that no two leases share one.
--                          Apart from attempt, as a release takes an attempt back
-- dead       dead letters, with what they were
-- seen       dedupe ids of the last minutes, of topics whose delivery is exactly-once
--
-- The order of a key is the order of seq, and that of the commits (lock_keys). A message is handed out only while no
-- earlier one of its key is there. Looking for that at every claim would cost as much as the key is long, so a message
-- that was found behind another is blocked, and whoever removes one of a key unblocks the first that is left. That none
-- is forgotten: who blocks holds a key-share lock on an earlier row, which its removal waits for; a row that is being
-- removed can't be locked, and then nothing is blocked.
CREATE TABLE fastlane.pubsub_topic (name text PRIMARY KEY);

CREATE TABLE fastlane.pubsub_subscription (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    topic text NOT NULL,
    paused boolean NOT NULL DEFAULT false
);
CREATE INDEX pubsub_subscription_topic ON fastlane.pubsub_subscription (topic);

CREATE SEQUENCE fastlane.pubsub_seq;

CREATE TABLE fastlane.pubsub_message (
    seq bigint PRIMARY KEY,
    id text NOT NULL,
    key text,
    published_at timestamptz NOT NULL,
    stored_at timestamptz NOT NULL,
    attributes text NOT NULL,
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

CREATE TABLE fastlane.pubsub_delivery (
    subscription integer NOT NULL,
    seq bigint NOT NULL,
    key text,
    due_at timestamptz NOT NULL,
    visible_at timestamptz NOT NULL,
    token bigint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    receives integer NOT NULL DEFAULT 0,
    PRIMARY KEY (seq, subscription)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX pubsub_delivery_ready ON fastlane.pubsub_delivery (subscription, visible_at, seq);
CREATE INDEX pubsub_delivery_key ON fastlane.pubsub_delivery (subscription, key, seq) WHERE key IS NOT NULL;

CREATE TABLE fastlane.pubsub_dead (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription integer NOT NULL,
    id text NOT NULL,
    key text,
    published_at timestamptz NOT NULL,
    attributes text NOT NULL,
    body bytea NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    source text NOT NULL,
    attempt integer NOT NULL,
    died_at timestamptz NOT NULL
);
CREATE INDEX pubsub_dead_subscription ON fastlane.pubsub_dead (subscription, position);

CREATE TABLE fastlane.pubsub_seen (
    topic text NOT NULL,
    dedupe_id text NOT NULL,
    seq bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (topic, dedupe_id)
);
CREATE INDEX pubsub_seen_expires ON fastlane.pubsub_seen (expires_at);

-- What one process at a time does now and then.
CREATE TABLE fastlane.chore (name text PRIMARY KEY, done_at timestamptz NOT NULL);

CREATE FUNCTION fastlane.take_chore(of_name text, every interval) RETURNS boolean LANGUAGE sql AS $$
    INSERT INTO fastlane.chore AS known (name, done_at) VALUES (of_name, clock_timestamp())
    ON CONFLICT (name) DO UPDATE SET done_at = excluded.done_at WHERE known.done_at < clock_timestamp() - every
    RETURNING true
$$;

-- Answers the numbers, an earlier one for what was published before; NULL: nobody subscribes, and nothing is kept.
CREATE FUNCTION fastlane.pubsub_publish(
    of_topic text, ids text[], keys text[], published timestamptz[], delays float8[], dedupe_ids text[],
    attributes text[], bodies bytea[], exact boolean
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    subscribers integer[];
    seqs bigint[];
    known bigint[];
    moment timestamptz;
BEGIN
    SELECT array_agg(id) INTO subscribers FROM fastlane.pubsub_subscription WHERE topic = of_topic;
    IF subscribers IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM fastlane.lock_keys('fastlane pubsub ' || of_topic, keys);
    seqs := ARRAY(SELECT nextval('fastlane.pubsub_seq') FROM generate_subscripts(ids, 1));
    known := seqs;
    moment := clock_timestamp();
    IF exact THEN
        -- A number that was drawn may have been drawn in vain. Who waits here for another transaction learns its fate.
        INSERT INTO fastlane.pubsub_seen AS seen (topic, dedupe_id, seq, expires_at)
        SELECT DISTINCT ON (m.dedupe_id) of_topic, m.dedupe_id, m.seq, moment + interval '5 minutes'
        FROM unnest(dedupe_ids, seqs) AS m(dedupe_id, seq) ORDER BY m.dedupe_id, m.seq
        ON CONFLICT (topic, dedupe_id) DO UPDATE SET seq = excluded.seq, expires_at = excluded.expires_at
        WHERE seen.expires_at < moment
            AND NOT EXISTS (SELECT FROM fastlane.pubsub_message m WHERE m.seq = seen.seq);
        known := ARRAY(
            SELECT seen.seq FROM unnest(dedupe_ids) WITH ORDINALITY AS m(dedupe_id, number)
            JOIN fastlane.pubsub_seen seen ON seen.topic = of_topic AND seen.dedupe_id = m.dedupe_id
            ORDER BY m.number);
    END IF;
    INSERT INTO fastlane.pubsub_message (seq, id, key, published_at, stored_at, attributes, body)
    SELECT m.seq, m.id, m.key, m.published, moment, m.attributes, m.body
    FROM unnest(seqs, known, ids, keys, published, attributes, bodies)
        AS m(seq, known, id, key, published, attributes, body)
    WHERE m.seq = m.known;
    -- Of a key in these messages the first one alone can be first.
    INSERT INTO fastlane.pubsub_delivery (subscription, seq, key, due_at, visible_at)
    SELECT s.id, m.seq, m.key, m.due_at,
        CASE WHEN m.key IS NULL OR m.number = 1 THEN m.due_at ELSE 'infinity' END
    FROM (
        SELECT n.seq, n.key, moment + make_interval(secs => n.delay) AS due_at,
            row_number() OVER (PARTITION BY n.key ORDER BY n.seq) AS number
        FROM unnest(seqs, known, keys, delays) AS n(seq, known, key, delay) WHERE n.seq = n.known
    ) AS m CROSS JOIN unnest(subscribers) AS s(id);
    PERFORM pg_notify('fastlane_pubsub', array_to_string(subscribers, ','));
    RETURN known;
END
$$;

-- Publish in whatever transaction runs: at once where the broker is this very database, else by way of the outbox.
CREATE FUNCTION fastlane.publish(
    broker text, of_topic text, physical text, ids text[], keys text[], published timestamptz[], delays float8[],
    dedupe_ids text[], attributes text[], bodies bytea[], exact boolean
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF broker = fastlane.identity() THEN
        PERFORM fastlane.pubsub_publish(
            physical, ids, keys, published, delays, dedupe_ids, attributes, bodies, exact);
    ELSE
        PERFORM fastlane.outbox_insert(of_topic, ids, keys, published, delays, dedupe_ids, attributes, bodies);
    END IF;
END
$$;

-- At most so many messages, leased for so many seconds. Without any one row, with the seconds until there may be some.
-- The plans are fixed: the tables are empty and full in turns, and statistics are always of another time.
CREATE FUNCTION fastlane.pubsub_claim(of_subscription integer, most integer, lease float8, new_token bigint)
RETURNS TABLE (
    seq bigint, id text, key text, published_at timestamptz, attempt integer, receives integer, attributes text,
    body bytea, wait float8
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    until timestamptz := moment + make_interval(secs => lease);
    chosen bigint[];
    their_keys text[];
    behind bigint[];
    heads bigint[];
    next_at timestamptz;
BEGIN
    IF (SELECT s.paused FROM fastlane.pubsub_subscription s WHERE s.id = of_subscription) THEN
        RETURN QUERY SELECT NULL::bigint, NULL, NULL, NULL::timestamptz, NULL::integer, NULL::integer, NULL,
            NULL::bytea, NULL::float8;
        RETURN;
    END IF;
    FOR pass IN 1..20 LOOP
        SELECT array_agg(c.seq ORDER BY c.seq), array_agg(c.key ORDER BY c.seq) INTO chosen, their_keys FROM (
            SELECT d.seq, d.key FROM fastlane.pubsub_delivery d
            WHERE d.subscription = of_subscription AND d.visible_at <= moment
            ORDER BY d.visible_at, d.seq LIMIT CASE pass WHEN 1 THEN most ELSE greatest(most, 200) END
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS c;
        EXIT WHEN chosen IS NULL;
        IF array_remove(their_keys, NULL) = '{}' THEN
            heads := chosen;
        ELSE
            SELECT array_agg(c.seq) INTO behind FROM unnest(chosen, their_keys) AS c(seq, key) CROSS JOIN LATERAL (
                SELECT FROM fastlane.pubsub_delivery p
                WHERE p.subscription = of_subscription AND p.key = c.key AND p.seq < c.seq
                ORDER BY p.seq LIMIT 1 FOR KEY SHARE SKIP LOCKED
            ) AS earlier;
            SELECT array_agg(c.seq ORDER BY c.seq) INTO heads FROM unnest(chosen, their_keys) AS c(seq, key)
            WHERE NOT EXISTS (
                SELECT FROM fastlane.pubsub_delivery p
                WHERE p.subscription = of_subscription AND p.key = c.key AND p.seq < c.seq);
            IF behind IS NOT NULL THEN
                UPDATE fastlane.pubsub_delivery d SET visible_at = 'infinity', token = 0
                WHERE d.subscription = of_subscription AND d.seq = ANY (behind);
            END IF;
        END IF;
        IF heads IS NOT NULL THEN
            RETURN QUERY
            WITH leased AS (
                UPDATE fastlane.pubsub_delivery d
                SET token = new_token + d.seq, visible_at = until, attempt = d.attempt + 1, receives = d.receives + 1
                WHERE d.subscription = of_subscription AND d.seq = ANY (heads[1:most])
                RETURNING d.seq, d.attempt, d.receives
            )
            SELECT m.seq, m.id, m.key, m.published_at, l.attempt, l.receives, m.attributes, m.body, NULL::float8
            FROM leased l JOIN fastlane.pubsub_message m ON m.seq = l.seq ORDER BY m.seq;
            RETURN;
        END IF;
        IF behind IS NULL THEN  -- what is before them is just being removed
            next_at := moment + interval '10 milliseconds';
            EXIT;
        END IF;
    END LOOP;
    IF next_at IS NULL THEN
        SELECT d.visible_at INTO next_at FROM fastlane.pubsub_delivery d
        WHERE d.subscription = of_subscription AND d.visible_at < 'infinity'
        ORDER BY d.visible_at LIMIT 1;
    END IF;
    RETURN QUERY SELECT NULL::bigint, NULL, NULL, NULL::timestamptz, NULL::integer, NULL::integer, NULL, NULL::bytea,
        extract(epoch FROM next_at - clock_timestamp())::float8;
END
$$;

-- Something of these keys has gone: the first that is left of each may be handed out. It is touched in any case: two who
-- remove messages of a key at the same time wait for each other, so that one of them sees what is left.
CREATE FUNCTION fastlane.pubsub_unblock(of_subscription integer, keys text[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE fastlane.pubsub_delivery d
    SET visible_at = CASE WHEN d.visible_at = 'infinity' THEN d.due_at ELSE d.visible_at END
    FROM (
        SELECT (
            SELECT p.seq FROM fastlane.pubsub_delivery p WHERE p.subscription = of_subscription AND p.key = k
            ORDER BY p.seq LIMIT 1
        ) AS seq FROM unnest(keys) AS k
    ) AS first
    WHERE d.subscription = of_subscription AND d.seq = first.seq;
END
$$;

-- The locks: of two subscriptions that are done with a message at the same time, the second sees that it is the last.
CREATE FUNCTION fastlane.pubsub_drop(seqs bigint[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM FROM fastlane.pubsub_message m WHERE m.seq = ANY (seqs) ORDER BY m.seq FOR UPDATE;
    DELETE FROM fastlane.pubsub_message m WHERE m.seq = ANY (seqs)
        AND NOT EXISTS (SELECT FROM fastlane.pubsub_delivery d WHERE d.seq = m.seq);
END
$$;

-- Answers the tokens of those that were held.
CREATE FUNCTION fastlane.pubsub_ack(of_subscription integer, seqs bigint[], tokens bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    done bigint[];
    held_still bigint[];
    keys text[];
BEGIN
    WITH gone AS (
        DELETE FROM fastlane.pubsub_delivery d USING unnest(seqs, tokens) AS held(seq, token)
        WHERE d.subscription = of_subscription AND d.seq = held.seq AND d.token = held.token
        RETURNING d.seq, d.token, d.key
    )
    SELECT array_agg(gone.seq), array_agg(gone.token), array_agg(DISTINCT gone.key) FILTER (WHERE gone.key IS NOT NULL)
    INTO done, held_still, keys FROM gone;
    IF keys IS NOT NULL THEN
        PERFORM fastlane.pubsub_unblock(of_subscription, keys);
    END IF;
    IF done IS NOT NULL THEN
        PERFORM fastlane.pubsub_drop(done);
    END IF;
    RETURN coalesce(held_still, '{}');
END
$$;

CREATE FUNCTION fastlane.pubsub_give_back(
    of_subscription integer, seqs bigint[], tokens bigint[], delay float8, unstarted boolean
) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    UPDATE fastlane.pubsub_delivery d
    SET visible_at = clock_timestamp() + make_interval(secs => delay), token = 0,
        attempt = d.attempt - unstarted::integer
    FROM unnest(seqs, tokens) AS held(seq, token)
    WHERE d.subscription = of_subscription AND d.seq = held.seq AND d.token = held.token;
    IF FOUND AND delay <= 0 THEN
        PERFORM pg_notify('fastlane_pubsub', of_subscription::text);
    END IF;
END
$$;

CREATE FUNCTION fastlane.pubsub_extend(
    of_subscription integer, seqs bigint[], tokens bigint[], seconds float8
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    held_still bigint[];
BEGIN
    WITH extended AS (
        UPDATE fastlane.pubsub_delivery d SET visible_at = clock_timestamp() + make_interval(secs => seconds)
        FROM unnest(seqs, tokens) AS held(seq, token)
        WHERE d.subscription = of_subscription AND d.seq = held.seq AND d.token = held.token
        RETURNING d.token
    )
    SELECT array_agg(extended.token) INTO held_still FROM extended;
    RETURN coalesce(held_still, '{}');
END
$$;

-- Whoever has lost the lease decides nothing.
CREATE FUNCTION fastlane.pubsub_bury(
    of_subscription integer, of_seq bigint, of_token bigint, reason text, error text, source text, attempt integer,
    died_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    gone fastlane.pubsub_delivery;
BEGIN
    DELETE FROM fastlane.pubsub_delivery d
    WHERE d.subscription = of_subscription AND d.seq = of_seq AND d.token = of_token RETURNING d.* INTO gone;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO fastlane.pubsub_dead (
        subscription, id, key, published_at, attributes, body, reason, error, source, attempt, died_at)
    SELECT of_subscription, m.id, m.key, m.published_at, m.attributes, m.body, reason, error, source, attempt, died_at
    FROM fastlane.pubsub_message m WHERE m.seq = of_seq;
    IF gone.key IS NOT NULL THEN
        PERFORM fastlane.pubsub_unblock(of_subscription, ARRAY[gone.key]);
    END IF;
    PERFORM fastlane.pubsub_drop(ARRAY[of_seq]);
END
$$;

-- Dead letters become messages again, of that subscription alone, in a new place in the order of their keys.
CREATE FUNCTION fastlane.pubsub_replay(of_subscription integer, wanted text[], most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    of_topic text := (SELECT topic FROM fastlane.pubsub_subscription WHERE id = of_subscription);
    positions bigint[];
    moment timestamptz := clock_timestamp();
BEGIN
    positions := ARRAY(
        SELECT x.position FROM fastlane.pubsub_dead x
        WHERE x.subscription = of_subscription AND (wanted IS NULL OR x.id = ANY (wanted))
        ORDER BY x.position LIMIT most FOR UPDATE SKIP LOCKED);
    PERFORM fastlane.lock_keys('fastlane pubsub ' || of_topic, ARRAY(
        SELECT x.key FROM fastlane.pubsub_dead x WHERE x.position = ANY (positions)));
    WITH gone AS (
        DELETE FROM fastlane.pubsub_dead x WHERE x.position = ANY (positions) RETURNING x.*
    ), ordered AS (
        SELECT * FROM gone ORDER BY gone.position
    ), numbered AS MATERIALIZED (
        SELECT nextval('fastlane.pubsub_seq') AS seq, o.* FROM ordered o
    ), messages AS (
        INSERT INTO fastlane.pubsub_message (seq, id, key, published_at, stored_at, attributes, body)
        SELECT n.seq, n.id, n.key, n.published_at, moment, n.attributes, n.body FROM numbered n
    )
    INSERT INTO fastlane.pubsub_delivery (subscription, seq, key, due_at, visible_at)
    SELECT of_subscription, n.seq, n.key, moment, moment FROM numbered n;
    PERFORM pg_notify('fastlane_pubsub', of_subscription::text);
    RETURN cardinality(positions);
END
$$;

-- Give up what nobody acknowledged in time, of the next 1,000 messages behind a number. Answers the last number looked
-- at (NULL: there is nothing older behind it) and how many deliveries were given up. Dead letters stay.
CREATE FUNCTION fastlane.pubsub_purge(behind bigint, retention interval, OUT last bigint, OUT given_up integer)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    old bigint[];
    moment timestamptz := clock_timestamp();
    gone record;
BEGIN
    given_up := 0;
    old := ARRAY(
        SELECT m.seq FROM (
            SELECT n.seq, n.stored_at FROM fastlane.pubsub_message n WHERE n.seq > behind ORDER BY n.seq LIMIT 1000
        ) AS m WHERE m.stored_at < moment - retention ORDER BY m.seq);
    last := old[cardinality(old)];
    FOR gone IN
        WITH removed AS (
            DELETE FROM fastlane.pubsub_delivery d
            WHERE d.seq = ANY (old) AND d.due_at < moment - retention AND (d.token = 0 OR d.visible_at <= moment)
            RETURNING d.subscription, d.key
        )
        SELECT r.subscription, count(*)::integer AS number,
            array_agg(DISTINCT r.key) FILTER (WHERE r.key IS NOT NULL) AS keys
        FROM removed r GROUP BY r.subscription
    LOOP
        given_up := given_up + gone.number;
        IF gone.keys IS NOT NULL THEN
            PERFORM fastlane.pubsub_unblock(gone.subscription, gone.keys);
        END IF;
    END LOOP;
    PERFORM fastlane.pubsub_drop(old);
END
$$;
