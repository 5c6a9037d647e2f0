-- The log in ranges of positions, so that old ones can go to files, and a row for each stream.
--
-- `events` becomes a partitioned table; what there is becomes its first partition as it is. A
-- partition is named by its first position. A stream's versions are unique within a partition by its
-- index; over all of them by `streams`, whose row the append reads and moves under the head's lock.
LOCK TABLE log_head, events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE log_head
    ADD partition_width bigint NOT NULL DEFAULT 1000000 CHECK (partition_width > 0),
    ADD partitioned_to  bigint NOT NULL DEFAULT 0; -- the last position there is a partition for

ALTER TABLE events RENAME TO events_1;
ALTER INDEX events_pkey RENAME TO events_1_pkey;
ALTER INDEX events_stream_version_key RENAME TO events_1_stream_version_key;
CREATE TABLE events (LIKE events_1) PARTITION BY RANGE (position);
ALTER TABLE events ADD PRIMARY KEY (position);
DO $$
DECLARE
    upper bigint;
BEGIN
    UPDATE log_head
    SET partitioned_to = greatest(1, ceil(position::numeric / partition_width)) * partition_width
    RETURNING partitioned_to INTO upper;
    EXECUTE format('ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES FROM (1) TO (%s)', upper + 1);
END $$;

-- Where each stream is. Its row moves with every append: keep room beside it.
CREATE TABLE streams (
    stream         text    PRIMARY KEY,
    version        integer NOT NULL,
    first_position bigint  NOT NULL,
    last_position  bigint  NOT NULL
) WITH (fillfactor = 80);
INSERT INTO streams (stream, version, first_position, last_position)
SELECT stream, max(version), min(position), max(position) FROM events GROUP BY stream;

-- The ranges that are tables of their own.
CREATE VIEW partitions AS
SELECT first_position,
    coalesce(
        lead(first_position) OVER (ORDER BY first_position) - 1,
        (SELECT partitioned_to FROM log_head)
    ) AS last_position
FROM (
    SELECT substring(c.relname FROM '^events_(\d+)$')::bigint AS first_position
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.events'::regclass
) p
WHERE first_position IS NOT NULL;

-- Makes partitions until the one that will hold position `needed` is not the last, or less than
-- three quarters full. Attaching blocks no reader. Somebody who holds the table is not waited for
-- while there is room: the next append tries again.
CREATE FUNCTION extend_log(needed bigint) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    upper bigint;
    width bigint;
BEGIN
    LOOP
        SELECT h.partitioned_to, h.partition_width INTO upper, width FROM log_head h;
        EXIT WHEN needed <= upper - width / 4;
        IF needed <= upper THEN
            BEGIN
                LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
            EXCEPTION
                WHEN lock_not_available THEN RETURN;
            END;
        END IF;
        EXECUTE format(
            'CREATE TABLE events_%s (LIKE events INCLUDING ALL, UNIQUE (stream, version))',
            upper + 1
        );
        EXECUTE format(
            'ALTER TABLE events ATTACH PARTITION events_%s FOR VALUES FROM (%s) TO (%s)',
            upper + 1, upper + 1, upper + width + 1
        );
        UPDATE log_head SET partitioned_to = upper + width;
    END LOOP;
END $$;

-- Appends items, each whole or not at all, and says of each what became of it.
--
-- Every item of one call has a stream, command id, key and lease of its own (the caller's writer
-- sees to that), so each is judged against committed state only. p_* arrays have one element an
-- item; e_*, r_* and f_* name the item (from 1) their event, reserved or freed key belongs to.
CREATE OR REPLACE FUNCTION append_batch(
    p_stream text[], p_expected integer[], p_count integer[], p_command text[], p_sha bytea[],
    p_answer bytea[], p_actor text[], p_project bigint[], p_correlation text[],
    p_causation text[], p_traceparent text[],
    p_lease_op text[], p_lease_task bigint[], p_lease_execution uuid[], p_lease_epoch integer[],
    p_lease_runner text[], p_lease_ttl double precision[],
    e_item integer[], e_seq integer[], e_id uuid[], e_type text[], e_schema smallint[],
    e_data text[],
    r_item integer[], r_scope text[], r_key text[],
    f_item integer[], f_scope text[], f_key text[]
) RETURNS TABLE (verdict text, at_position bigint, at_version integer, key_scope text, key_text text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
-- Its plans are cached while the tables are still empty; without this they would scan for ever.
SET enable_seqscan = off AS $$
DECLARE
    head bigint;
    roomy_to bigint;
BEGIN
    SELECT h.position, h.partitioned_to - h.partition_width / 4 INTO head, roomy_to
    FROM log_head h FOR UPDATE;
    IF head + cardinality(e_id) > roomy_to THEN
        PERFORM extend_log(head + cardinality(e_id));
    END IF;
    -- A renewal may not slip in between the judgement of a lease and its removal.
    PERFORM 1 FROM leases l WHERE l.task_id = ANY (p_lease_task) ORDER BY l.task_id FOR UPDATE;
    RETURN QUERY
    WITH taken AS MATERIALIZED (
        SELECT DISTINCT ON (r.item) r.item, r.scope, r.key
        FROM unnest(r_item, r_scope, r_key) AS r (item, scope, key)
        JOIN reservations held ON held.scope = r.scope AND held.key = r.key
    ),
    item AS MATERIALIZED (
        SELECT i.*, coalesce(s.version, 0) AS version, coalesce(s.position, 0) AS position,
            s.place AS stream_place, taken.scope AS taken_scope, taken.key AS taken_key,
            CASE
                WHEN c.command_id IS NOT NULL THEN 'replayed'
                WHEN coalesce(s.version, 0) <> i.expected THEN 'conflict'
                WHEN i.lease_op = 'acquire' AND l.task_id IS NOT NULL THEN 'fenced'
                WHEN i.lease_op <> 'acquire'
                    AND (l.execution_id, l.epoch) IS DISTINCT FROM (i.lease_execution, i.lease_epoch)
                    THEN 'fenced'
                WHEN i.lease_op <> 'acquire' AND i.lease_runner NOT IN ('', l.runner_id)
                    THEN 'fenced'
                WHEN i.lease_op = 'expire' AND l.expires_at > clock_timestamp() THEN 'fenced'
                WHEN taken.item IS NOT NULL THEN 'taken'
                ELSE 'appended'
            END AS verdict
        FROM unnest(
            p_stream, p_expected, p_count, p_command, p_sha, p_answer, p_actor, p_project,
            p_correlation, p_causation, p_traceparent, p_lease_op, p_lease_task,
            p_lease_execution, p_lease_epoch, p_lease_runner, p_lease_ttl
        ) WITH ORDINALITY AS i (
            stream, expected, count, command_id, sha, answer, actor, project_id,
            correlation_id, causation_id, traceparent, lease_op, lease_task,
            lease_execution, lease_epoch, lease_runner, lease_ttl, item
        )
        LEFT JOIN LATERAL (
            SELECT c.command_id FROM commands c WHERE c.command_id = i.command_id LIMIT 1
        ) c ON true
        LEFT JOIN LATERAL (
            SELECT s.ctid AS place, s.version, s.last_position AS position FROM streams s
            WHERE s.stream = i.stream LIMIT 1
        ) s ON true
        LEFT JOIN LATERAL (
            SELECT l.* FROM leases l WHERE l.task_id = i.lease_task LIMIT 1
        ) l ON true
        LEFT JOIN taken ON taken.item = i.item
    ),
    good AS MATERIALIZED (
        SELECT item.*, (head + sum(item.count) OVER (ORDER BY item.item))::bigint AS last
        FROM item WHERE item.verdict = 'appended'
    ),
    appended AS (
        INSERT INTO events (
            position, stream, version, event_id, type, schema_version, recorded_at, actor,
            project_id, command_id, correlation_id, causation_id, traceparent, data
        )
        SELECT g.last - g.count + e.seq, g.stream, g.expected + e.seq, e.id, e.type, e.schema,
            clock_timestamp(), g.actor, g.project_id, g.command_id, g.correlation_id,
            g.causation_id, g.traceparent, e.data::json
        FROM unnest(e_item, e_seq, e_id, e_type, e_schema, e_data)
            AS e (item, seq, id, type, schema, data)
        JOIN good g ON g.item = e.item
        ORDER BY 1
    ),
    begun AS (
        INSERT INTO streams (stream, version, first_position, last_position)
        SELECT g.stream, g.count, g.last - g.count + 1, g.last
        FROM good g WHERE g.count > 0 AND g.stream_place IS NULL
    ),
    continued AS (
        -- By place: nobody moves these rows but the holder of the head, and no plan can be slow.
        UPDATE streams s SET version = g.expected + g.count, last_position = g.last
        FROM good g WHERE g.count > 0 AND s.ctid = g.stream_place
    ),
    kept AS (
        INSERT INTO commands (command_id, request_sha256, stream, position, version, answer)
        SELECT g.command_id, g.sha, g.stream,
            CASE WHEN g.count = 0 THEN g.position ELSE g.last END, g.expected + g.count, g.answer
        FROM good g
    ),
    reserved AS (
        INSERT INTO reservations (scope, key, stream)
        SELECT r.scope, r.key, g.stream
        FROM unnest(r_item, r_scope, r_key) AS r (item, scope, key)
        JOIN good g ON g.item = r.item
    ),
    freed AS (
        DELETE FROM reservations held
        USING unnest(f_item, f_scope, f_key) AS f (item, scope, key)
        JOIN good g ON g.item = f.item
        WHERE held.scope = f.scope AND held.key = f.key AND held.stream = g.stream
    ),
    leased AS (
        INSERT INTO leases (task_id, execution_id, epoch, runner_id, expires_at)
        SELECT g.lease_task, g.lease_execution, g.lease_epoch, g.lease_runner,
            clock_timestamp() + make_interval(secs => g.lease_ttl)
        FROM good g WHERE g.lease_op = 'acquire'
    ),
    unleased AS (
        DELETE FROM leases l USING good g
        WHERE g.lease_op IN ('release', 'expire') AND l.task_id = g.lease_task
    ),
    cancelled AS (
        UPDATE leases l SET cancel = true FROM good g
        WHERE g.lease_op = 'cancel' AND l.task_id = g.lease_task
    ),
    moved AS (
        UPDATE log_head SET position = (SELECT max(g.last) FROM good g)
        WHERE EXISTS (SELECT FROM good g WHERE g.count > 0)
    )
    SELECT item.verdict,
        CASE WHEN g.item IS NULL OR g.count = 0 THEN item.position ELSE g.last END,
        CASE WHEN g.item IS NULL THEN item.version ELSE g.expected + g.count END,
        item.taken_scope, item.taken_key
    FROM item LEFT JOIN good g ON g.item = item.item
    ORDER BY item.item;
END $$;

-- What went to files: ranges without gap from position 1 on, each a chain link (its manifest).
CREATE TABLE archives (
    first_position  bigint      PRIMARY KEY,
    last_position   bigint      NOT NULL UNIQUE,
    manifest        text        NOT NULL, -- the name of its file
    manifest_sha256 text        NOT NULL,
    archived_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (first_position <= last_position)
);

-- The last position that is in files, 0 for none.
CREATE FUNCTION archived_to() RETURNS bigint LANGUAGE sql STABLE
RETURN (SELECT coalesce(max(last_position), 0) FROM archives);

-- Replaces the oldest partition, which is in a file now, by the rows of streams that go on; returns
-- how many rows those are, of all that is archived. A stream is over when its last event is of one
-- of these types. Until the locks are had nobody waits; after that it is a matter of the catalog.
CREATE FUNCTION retire_events(
    p_first bigint, p_last bigint, p_manifest text, p_sha256 text, p_over text[]
) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    before bigint := archived_to();
    stays bigint;
BEGIN
    IF p_first <> before + 1 THEN
        RAISE EXCEPTION 'archived up to %, so % cannot be next', before, p_first;
    END IF;
    IF NOT EXISTS (
        SELECT FROM partitions p, log_head h
        WHERE p.first_position = p_first AND p.last_position = p_last AND h.position > p_last
    ) THEN
        RAISE EXCEPTION '% to % is no finished partition', p_first, p_last;
    END IF;
    EXECUTE format(
        'CREATE TABLE events_kept_%s (LIKE events INCLUDING ALL, UNIQUE (stream, version),'
        ' CHECK (position >= 1 AND position < %s))',
        p_last, p_last + 1
    );
    EXECUTE format(
        'INSERT INTO events_kept_%s SELECT e.* FROM events e JOIN streams s USING (stream)'
        ' JOIN events latest ON latest.position = s.last_position'
        ' WHERE e.position <= $1 AND latest.type <> ALL ($2)',
        p_last
    ) USING p_last, p_over;
    GET DIAGNOSTICS stays = ROW_COUNT;
    LOCK TABLE events IN ACCESS EXCLUSIVE MODE;
    IF before > 0 THEN
        EXECUTE format('DROP TABLE events_kept_%s', before);
    END IF;
    EXECUTE format('DROP TABLE events_%s', p_first);
    EXECUTE format(
        'ALTER TABLE events ATTACH PARTITION events_kept_%s FOR VALUES FROM (1) TO (%s)',
        p_last, p_last + 1
    );
    INSERT INTO archives (first_position, last_position, manifest, manifest_sha256)
    VALUES (p_first, p_last, p_manifest, p_sha256);
    RETURN stays;
END $$;

REVOKE ALL ON FUNCTION extend_log, retire_events FROM PUBLIC;
REVOKE ALL ON events_1 FROM pandar_app;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON events, streams, archives FROM PUBLIC;
GRANT SELECT ON events, streams, archives, partitions TO pandar_app;
