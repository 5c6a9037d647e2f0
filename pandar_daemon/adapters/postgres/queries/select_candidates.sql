SELECT t.id FROM views.tasks t
WHERE t.status_reason IN ('queued', 'retry_at', 'quota', 'resuming') AND NOT t.deleted
    AND (t.not_before IS NULL OR t.not_before <= $1)
    AND NOT EXISTS (
        SELECT FROM reservations r
        WHERE r.scope = 'concurrency' AND r.key = t.project_id || ':' || t.concurrency_key
    )
ORDER BY t.priority_rank DESC, t.queued_at, t.id
LIMIT $2
