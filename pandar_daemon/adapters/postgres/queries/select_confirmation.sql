-- One confirmation. An end of its task that names none belongs to the one asked for last before.
SELECT c.*, e.status AS end_status, e.at AS end_at, e.by AS end_by, e.reason AS end_reason
FROM views.confirmations c
LEFT JOIN LATERAL (
    SELECT * FROM views.confirmation_ends e
    WHERE e.task_id = c.task_id AND e.position > c.position
    ORDER BY e.position
    LIMIT 1
) e ON c.status = 'pending'
WHERE c.id = $1
