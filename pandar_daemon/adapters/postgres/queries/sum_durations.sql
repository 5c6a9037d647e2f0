SELECT coalesce(sum(executions), 0) AS executions, coalesce(sum(duration_ms), 0) AS duration_ms
FROM views.task_durations
WHERE $1::bigint[] IS NULL OR project_id = ANY ($1)
