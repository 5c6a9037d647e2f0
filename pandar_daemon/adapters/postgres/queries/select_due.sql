SELECT id, scheduled_at FROM views.tasks
WHERE status = 'pending' AND status_reason IS NULL AND scheduled_at <= $1 AND NOT deleted
ORDER BY scheduled_at
LIMIT $2
