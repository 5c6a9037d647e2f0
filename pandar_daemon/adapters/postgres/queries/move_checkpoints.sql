-- A read model can always be made again from the log, and its checkpoint is lost or kept with it:
-- so its commit need not wait for the disk. Who moves many waits for others who do, lest two of
-- them wait for each other's rows; that is cheaper than to lock the rows in one order first.
WITH alone AS MATERIALIZED (
    SELECT CASE
        WHEN cardinality($1::text[]) > 1
        THEN pg_advisory_xact_lock(hashtextextended('pandar.checkpoints', 0))
    END
), wanted AS MATERIALIZED (
    SELECT w.* FROM alone, unnest($1::text[], $2::integer[], $3::boolean[], $4::bigint[], $5::bigint[])
        AS w (model, generation, live, was, becomes)
), moved AS (
    UPDATE read_models r SET position = w.becomes FROM wanted w
    WHERE r.model = w.model AND r.generation = w.generation
        AND (r.live OR NOT w.live) AND r.position = w.was
    RETURNING 1
)
SELECT count(*) AS moved, set_config('synchronous_commit', 'off', true) FROM moved
