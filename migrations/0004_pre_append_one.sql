-- An append by itself, without keys and lease: what `append_batch` does with it, in a third less
-- time. The end of the log is moved before the item is judged, which locks it as well, and moved
-- back if it is not appended; nobody sees either before the commit.
CREATE FUNCTION append_one(
    p_stream text, p_expected integer, p_command text, p_sha bytea, p_answer bytea, p_actor text,
    p_project bigint, p_correlation text, p_causation text, p_traceparent text,
    e_id uuid[], e_type text[], e_schema smallint[], e_data text[],
    OUT verdict text, OUT at_position bigint, OUT at_version integer
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
-- As with `append_batch`: its plans are cached while the tables are still empty.
SET enable_seqscan = off AS $$
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
REVOKE ALL ON FUNCTION append_one FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_one TO pandar_app;
