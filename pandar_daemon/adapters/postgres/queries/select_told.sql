SELECT id FROM views.notifications WHERE confirmation_id = $1 AND user_id = $2 ORDER BY position
