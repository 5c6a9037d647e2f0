-- Made by `make generate` from the migrations; do not edit.

CREATE SCHEMA views;

CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

COMMENT ON EXTENSION pg_trgm IS 'text similarity measurement and index searching based on trigrams';

CREATE FUNCTION public.append_batch(p_stream text[], p_expected integer[], p_count integer[], p_command text[], p_sha bytea[], p_answer bytea[], p_actor text[], p_project bigint[], p_correlation text[], p_causation text[], p_traceparent text[], p_lease_op text[], p_lease_task bigint[], p_lease_execution uuid[], p_lease_epoch integer[], p_lease_runner text[], p_lease_ttl double precision[], e_item integer[], e_seq integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[], r_item integer[], r_scope text[], r_key text[], f_item integer[], f_scope text[], f_key text[]) RETURNS TABLE(verdict text, at_position bigint, at_version integer, key_scope text, key_text text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION public.append_one(p_stream text, p_expected integer, p_command text, p_sha bytea, p_answer bytea, p_actor text, p_project bigint, p_correlation text, p_causation text, p_traceparent text, e_id uuid[], e_type text[], e_schema smallint[], e_data text[], OUT verdict text, OUT at_position bigint, OUT at_version integer) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    added integer := cardinality(e_id);
    head bigint;
    roomy_to bigint;
    place tid;
    known boolean;
BEGIN
    UPDATE log_head h SET position = h.position + added
    RETURNING h.position, h.partitioned_to - h.partition_width / 4 INTO head, roomy_to;
    SELECT s.ctid, s.version, s.last_position INTO place, at_version, at_position
    FROM streams s WHERE s.stream = p_stream;
    at_version := coalesce(at_version, 0);
    SELECT EXISTS (SELECT FROM commands c WHERE c.command_id = p_command) INTO known;
    IF known OR at_version <> p_expected THEN
        UPDATE log_head h SET position = h.position - added;
        verdict := CASE WHEN known THEN 'replayed' ELSE 'conflict' END;
        RETURN;
    END IF;
    verdict := 'appended';
    at_version := p_expected + added;
    IF added > 0 THEN
        at_position := head;
        IF head > roomy_to THEN
            PERFORM extend_log(head);
        END IF;
        INSERT INTO events (
            position, stream, version, event_id, type, schema_version, recorded_at, actor,
            project_id, command_id, correlation_id, causation_id, traceparent, data
        )
        SELECT head - added + e.seq, p_stream, p_expected + e.seq, e.id, e.type, e.schema,
            clock_timestamp(), p_actor, p_project, p_command, p_correlation, p_causation,
            p_traceparent, e.data::json
        FROM unnest(e_id, e_type, e_schema, e_data)
            WITH ORDINALITY AS e (id, type, schema, data, seq);
        IF place IS NULL THEN
            INSERT INTO streams (stream, version, first_position, last_position)
            VALUES (p_stream, added, head - added + 1, head);
        ELSE
            -- By place: nobody moves this row but the holder of the head.
            UPDATE streams s SET version = at_version, last_position = head WHERE s.ctid = place;
        END IF;
    END IF;
    at_position := coalesce(at_position, 0);
    INSERT INTO commands (command_id, request_sha256, stream, position, version, answer)
    VALUES (p_command, p_sha, p_stream, at_position, at_version, p_answer);
END $$;

CREATE TABLE public.archives (
    first_position bigint NOT NULL,
    last_position bigint NOT NULL,
    manifest text NOT NULL,
    manifest_sha256 text NOT NULL,
    archived_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT archives_check CHECK ((first_position <= last_position))
);

CREATE FUNCTION public.archived_to() RETURNS bigint
    LANGUAGE sql STABLE
    RETURN (SELECT COALESCE(max(archives.last_position), (0)::bigint) AS "coalesce" FROM public.archives);

CREATE FUNCTION public.create_generation(schema_name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
BEGIN
    IF schema_name !~ '^rm_[a-z][a-z_]*_[0-9]+$' THEN
        RAISE EXCEPTION 'not the schema of a generation: %', schema_name;
    END IF;
    EXECUTE format('CREATE SCHEMA %I AUTHORIZATION pandar_app', schema_name);
END $_$;

CREATE FUNCTION public.extend_log(needed bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

CREATE FUNCTION public.read_stream(p_stream text, p_after_version integer, p_up_to bigint, p_until timestamp with time zone) RETURNS TABLE("position" bigint, stream text, version integer, event_id uuid, type text, schema_version smallint, recorded_at timestamp with time zone, actor text, project_id bigint, command_id text, correlation_id text, causation_id text, traceparent text, data json, stream_version integer, first_position bigint)
    LANGUAGE plpgsql STABLE
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    last_at bigint;
BEGIN
    SELECT s.version, s.first_position, s.last_position
    INTO stream_version, first_position, last_at
    FROM streams s WHERE s.stream = p_stream;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT e.position, e.stream, e.version, e.event_id, e.type, e.schema_version, e.recorded_at,
        e.actor, e.project_id, e.command_id, e.correlation_id, e.causation_id, e.traceparent, e.data,
        read_stream.stream_version, read_stream.first_position
    FROM events e
    -- ALL keeps the planner from taking positions for the narrower condition: of a stream that
    -- began long ago they are not.
    WHERE e.stream = p_stream AND e.version > p_after_version
        AND e.position >= read_stream.first_position
        AND e.position <= ALL (ARRAY[least(last_at, p_up_to)])
        AND (p_until IS NULL OR e.recorded_at <= p_until)
    ORDER BY e.version;
    IF NOT FOUND THEN
        RETURN NEXT;
    END IF;
END $$;

CREATE FUNCTION public.retire_events(p_first bigint, p_last bigint, p_manifest text, p_sha256 text, p_over text[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $_$
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
END $_$;

CREATE TABLE public.commands (
    command_id text NOT NULL,
    request_sha256 bytea NOT NULL,
    stream text NOT NULL,
    "position" bigint NOT NULL,
    version integer NOT NULL,
    answer bytea NOT NULL
);

CREATE TABLE public.events (
    "position" bigint NOT NULL,
    stream text NOT NULL,
    version integer NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    schema_version smallint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    project_id bigint,
    command_id text NOT NULL,
    correlation_id text NOT NULL,
    causation_id text,
    traceparent text,
    data json NOT NULL
)
PARTITION BY RANGE ("position");

CREATE TABLE public.events_1 (
    "position" bigint CONSTRAINT events_position_not_null NOT NULL,
    stream text CONSTRAINT events_stream_not_null NOT NULL,
    version integer CONSTRAINT events_version_not_null NOT NULL,
    event_id uuid CONSTRAINT events_event_id_not_null NOT NULL,
    type text CONSTRAINT events_type_not_null NOT NULL,
    schema_version smallint CONSTRAINT events_schema_version_not_null NOT NULL,
    recorded_at timestamp with time zone CONSTRAINT events_recorded_at_not_null NOT NULL,
    actor text CONSTRAINT events_actor_not_null NOT NULL,
    project_id bigint,
    command_id text CONSTRAINT events_command_id_not_null NOT NULL,
    correlation_id text CONSTRAINT events_correlation_id_not_null NOT NULL,
    causation_id text,
    traceparent text,
    data json CONSTRAINT events_data_not_null NOT NULL
);

CREATE TABLE public.followers (
    follower text NOT NULL,
    "position" bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.leaders (
    role text NOT NULL,
    holder text NOT NULL,
    expires_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.leases (
    task_id bigint NOT NULL,
    execution_id uuid NOT NULL,
    epoch integer NOT NULL,
    runner_id text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    begun boolean DEFAULT false NOT NULL,
    cancel boolean DEFAULT false NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.log_head (
    singleton boolean DEFAULT true NOT NULL,
    "position" bigint NOT NULL,
    epoch integer NOT NULL,
    partition_width bigint DEFAULT 1000000 NOT NULL,
    partitioned_to bigint DEFAULT 0 NOT NULL,
    CONSTRAINT log_head_partition_width_check CHECK ((partition_width > 0)),
    CONSTRAINT log_head_singleton_check CHECK (singleton)
);

CREATE TABLE public.parked (
    model text NOT NULL,
    generation integer NOT NULL,
    stream text NOT NULL,
    "position" bigint NOT NULL,
    error text NOT NULL,
    skipped bigint DEFAULT 0 NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE VIEW public.partitions AS
 SELECT first_position,
    COALESCE((lead(first_position) OVER (ORDER BY first_position) - 1), ( SELECT log_head.partitioned_to
           FROM public.log_head)) AS last_position
   FROM ( SELECT ("substring"((c.relname)::text, '^events_(\d+)$'::text))::bigint AS first_position
           FROM (pg_inherits i
             JOIN pg_class c ON ((c.oid = i.inhrelid)))
          WHERE (i.inhparent = ('public.events'::regclass)::oid)) p
  WHERE (first_position IS NOT NULL);

CREATE SEQUENCE public.project_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.read_models (
    model text NOT NULL,
    generation integer NOT NULL,
    version integer NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    live boolean DEFAULT false NOT NULL,
    begun_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.rejected (
    id bigint NOT NULL,
    rejected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    stream text NOT NULL,
    command_id text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL
);

ALTER TABLE public.rejected ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.rejected_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.reservations (
    scope text NOT NULL,
    key text NOT NULL,
    stream text NOT NULL
);

CREATE TABLE public.streams (
    stream text NOT NULL,
    version integer NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL
)
WITH (fillfactor='80');

CREATE SEQUENCE public.task_ids
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

ALTER TABLE ONLY public.events ATTACH PARTITION public.events_1 FOR VALUES FROM ('1') TO ('1000001');

ALTER TABLE ONLY public.archives
    ADD CONSTRAINT archives_last_position_key UNIQUE (last_position);

ALTER TABLE ONLY public.archives
    ADD CONSTRAINT archives_pkey PRIMARY KEY (first_position);

ALTER TABLE ONLY public.commands
    ADD CONSTRAINT commands_pkey PRIMARY KEY (command_id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.events_1
    ADD CONSTRAINT events_1_pkey PRIMARY KEY ("position");

ALTER TABLE ONLY public.events_1
    ADD CONSTRAINT events_1_stream_version_key UNIQUE (stream, version);

ALTER TABLE ONLY public.followers
    ADD CONSTRAINT followers_pkey PRIMARY KEY (follower);

ALTER TABLE ONLY public.leaders
    ADD CONSTRAINT leaders_pkey PRIMARY KEY (role);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (task_id);

ALTER TABLE ONLY public.log_head
    ADD CONSTRAINT log_head_pkey PRIMARY KEY (singleton);

ALTER TABLE ONLY public.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (model, generation, stream);

ALTER TABLE ONLY public.read_models
    ADD CONSTRAINT read_models_pkey PRIMARY KEY (model, generation);

ALTER TABLE ONLY public.rejected
    ADD CONSTRAINT rejected_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.reservations
    ADD CONSTRAINT reservations_pkey PRIMARY KEY (scope, key);

ALTER TABLE ONLY public.streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (stream);

CREATE UNIQUE INDEX read_models_live ON public.read_models USING btree (model) WHERE live;

ALTER INDEX public.events_pkey ATTACH PARTITION public.events_1_pkey;

ALTER TABLE ONLY public.parked
    ADD CONSTRAINT parked_model_generation_fkey FOREIGN KEY (model, generation) REFERENCES public.read_models(model, generation) ON DELETE CASCADE;

GRANT USAGE ON SCHEMA public TO pandar_app;

GRANT ALL ON SCHEMA views TO pandar_app;

REVOKE ALL ON FUNCTION public.append_batch(p_stream text[], p_expected integer[], p_count integer[], p_command text[], p_sha bytea[], p_answer bytea[], p_actor text[], p_project bigint[], p_correlation text[], p_causation text[], p_traceparent text[], p_lease_op text[], p_lease_task bigint[], p_lease_execution uuid[], p_lease_epoch integer[], p_lease_runner text[], p_lease_ttl double precision[], e_item integer[], e_seq integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[], r_item integer[], r_scope text[], r_key text[], f_item integer[], f_scope text[], f_key text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_batch(p_stream text[], p_expected integer[], p_count integer[], p_command text[], p_sha bytea[], p_answer bytea[], p_actor text[], p_project bigint[], p_correlation text[], p_causation text[], p_traceparent text[], p_lease_op text[], p_lease_task bigint[], p_lease_execution uuid[], p_lease_epoch integer[], p_lease_runner text[], p_lease_ttl double precision[], e_item integer[], e_seq integer[], e_id uuid[], e_type text[], e_schema smallint[], e_data text[], r_item integer[], r_scope text[], r_key text[], f_item integer[], f_scope text[], f_key text[]) TO pandar_app;

REVOKE ALL ON FUNCTION public.append_one(p_stream text, p_expected integer, p_command text, p_sha bytea, p_answer bytea, p_actor text, p_project bigint, p_correlation text, p_causation text, p_traceparent text, e_id uuid[], e_type text[], e_schema smallint[], e_data text[], OUT verdict text, OUT at_position bigint, OUT at_version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.append_one(p_stream text, p_expected integer, p_command text, p_sha bytea, p_answer bytea, p_actor text, p_project bigint, p_correlation text, p_causation text, p_traceparent text, e_id uuid[], e_type text[], e_schema smallint[], e_data text[], OUT verdict text, OUT at_position bigint, OUT at_version integer) TO pandar_app;

GRANT SELECT ON TABLE public.archives TO pandar_app;

REVOKE ALL ON FUNCTION public.create_generation(schema_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.create_generation(schema_name text) TO pandar_app;

REVOKE ALL ON FUNCTION public.extend_log(needed bigint) FROM PUBLIC;

REVOKE ALL ON FUNCTION public.read_stream(p_stream text, p_after_version integer, p_up_to bigint, p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.read_stream(p_stream text, p_after_version integer, p_up_to bigint, p_until timestamp with time zone) TO pandar_app;

REVOKE ALL ON FUNCTION public.retire_events(p_first bigint, p_last bigint, p_manifest text, p_sha256 text, p_over text[]) FROM PUBLIC;

GRANT SELECT ON TABLE public.commands TO pandar_app;

GRANT SELECT ON TABLE public.events TO pandar_app;

GRANT SELECT,INSERT,UPDATE ON TABLE public.followers TO pandar_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.leaders TO pandar_app;

GRANT SELECT ON TABLE public.leases TO pandar_app;

GRANT UPDATE(expires_at) ON TABLE public.leases TO pandar_app;

GRANT UPDATE(begun) ON TABLE public.leases TO pandar_app;

GRANT SELECT ON TABLE public.log_head TO pandar_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.parked TO pandar_app;

GRANT SELECT ON TABLE public.partitions TO pandar_app;

GRANT USAGE ON SEQUENCE public.project_ids TO pandar_app;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.read_models TO pandar_app;

GRANT SELECT,INSERT ON TABLE public.rejected TO pandar_app;

GRANT SELECT ON TABLE public.reservations TO pandar_app;

GRANT SELECT ON TABLE public.streams TO pandar_app;

GRANT USAGE ON SEQUENCE public.task_ids TO pandar_app;
