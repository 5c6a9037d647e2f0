-- What waits for people after a deadline, the nearest one first.
SELECT c.*
FROM views.open_confirmations o
JOIN views.confirmations c ON c.task_id = o.task_id AND c.id = o.confirmation_id
WHERE ($1::bigint[] IS NULL OR o.project_id = ANY ($1))
    AND ($2::timestamptz IS NULL OR (o.expires_at, o.task_id) > ($2, $3::bigint))
ORDER BY o.expires_at, o.task_id
LIMIT $4
