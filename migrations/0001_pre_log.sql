-- The log and what is decided in the same transaction with it.
--
-- The daemon acts as pandar_app, which can read the log but not write it: events go in through
-- append_batch alone. The role belongs to the cluster, so several databases may make it at once.
DO $$
BEGIN
    CREATE ROLE pandar_app NOLOGIN;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$
BEGIN
    EXECUTE format('GRANT pandar_app TO %I', current_user);
EXCEPTION
    WHEN unique_violation OR SQLSTATE 'XX000' THEN NULL; -- another database granted it just now
END $$;

-- One row: the end of the log. Its lock puts all appends of all processes in one order.
CREATE TABLE log_head (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    position  bigint  NOT NULL,
    epoch     integer NOT NULL
);
INSERT INTO log_head (position, epoch) VALUES (0, 1);

CREATE TABLE events (
    position       bigint      PRIMARY KEY,
    stream         text        NOT NULL,
    version        integer     NOT NULL,
    event_id       uuid        NOT NULL,
    type           text        NOT NULL,
    schema_version smallint    NOT NULL,
    recorded_at    timestamptz NOT NULL,
    actor          text        NOT NULL,
    project_id     bigint,
    command_id     text        NOT NULL,
    correlation_id text        NOT NULL,
    causation_id   text,
    traceparent    text,
    data           json        NOT NULL,
    UNIQUE (stream, version)
);

-- The first answer to every command, for ever.
CREATE TABLE commands (
    command_id     text    PRIMARY KEY,
    request_sha256 bytea   NOT NULL,
    stream         text    NOT NULL,
    position       bigint  NOT NULL,
    version        integer NOT NULL,
    answer         bytea   NOT NULL
);

-- Set constraints: at most one holder of a key.
CREATE TABLE reservations (
    scope  text NOT NULL,
    key    text NOT NULL,
    stream text NOT NULL,
    PRIMARY KEY (scope, key)
);

-- At most one live execution of a task. Rows are touched every few seconds: keep room beside them.
CREATE TABLE leases (
    task_id      bigint      PRIMARY KEY,
    execution_id uuid        NOT NULL,
    epoch        integer     NOT NULL,
    runner_id    text        NOT NULL,
    expires_at   timestamptz NOT NULL,
    begun        boolean     NOT NULL DEFAULT false,
    cancel       boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- The one active process of each role that must be alone.
CREATE TABLE leaders (
    role       text        PRIMARY KEY,
    holder     text        NOT NULL,
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What came from a stale lease: refused, never applied, kept for forensics.
CREATE TABLE rejected (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    stream      text        NOT NULL,
    command_id  text        NOT NULL,
    actor       text        NOT NULL,
    reason      text        NOT NULL,
    body        bytea       NOT NULL
);

CREATE SEQUENCE task_ids;
CREATE SEQUENCE project_ids;

-- Appends items, each whole or not at all, and says of each what became of it.
--
-- Every item of one call has a stream, command id, key and lease of its own (the caller's writer
-- sees to that), so each is judged against committed state only. p_* arrays have one element an
-- item; e_*, r_* and f_* name the item (from 1) their event, reserved or freed key belongs to.
CREATE FUNCTION append_batch(
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
BEGIN
    SELECT h.position INTO head FROM log_head h FOR UPDATE;
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
            taken.scope AS taken_scope, taken.key AS taken_key,
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
            SELECT e.version, e.position FROM events e
            WHERE e.stream = i.stream ORDER BY e.version DESC LIMIT 1
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

REVOKE ALL ON FUNCTION append_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_batch TO pandar_app;
GRANT USAGE ON SCHEMA public TO pandar_app;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON log_head, events, commands, reservations FROM PUBLIC;
GRANT SELECT ON log_head, events, commands, reservations, leases TO pandar_app;
GRANT UPDATE (expires_at, begun) ON leases TO pandar_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON leaders TO pandar_app;
GRANT SELECT, INSERT ON rejected TO pandar_app;
GRANT USAGE ON SEQUENCE task_ids, project_ids TO pandar_app;
