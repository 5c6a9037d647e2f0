-- A stream's events in order, from the partitions it is in; `streams` says which. Asked in one
-- statement with that row, the positions are known too late: all partitions are made ready, and at a
-- hundred of them that takes longer than reading. Here they are arguments of a plan made once.
-- Each row says how long the stream is and where it begins; one without an event says only that.
CREATE FUNCTION read_stream(
    p_stream text, p_after_version integer, p_up_to bigint, p_until timestamptz
) RETURNS TABLE (
    "position" bigint, stream text, version integer, event_id uuid, type text,
    schema_version smallint, recorded_at timestamptz, actor text, project_id bigint,
    command_id text, correlation_id text, causation_id text, traceparent text, data json,
    stream_version integer, first_position bigint
)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
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
REVOKE ALL ON FUNCTION read_stream FROM PUBLIC;
GRANT EXECUTE ON FUNCTION read_stream TO pandar_app;
