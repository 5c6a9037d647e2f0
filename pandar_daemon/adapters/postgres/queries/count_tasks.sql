SELECT status, sum(tasks) AS tasks FROM views.task_counts
WHERE $1::bigint[] IS NULL OR project_id = ANY ($1)
GROUP BY status
