SELECT id, confirmation_id FROM views.tasks
WHERE status = 'waiting_confirmation' AND confirmation_expires_at <= $1 AND NOT deleted
ORDER BY confirmation_expires_at
LIMIT $2
