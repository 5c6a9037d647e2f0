SELECT n.*, n.is_read OR coalesce(r.read_up_to, 0) >= n.marked_at AS read_by_user
FROM views.notifications n
LEFT JOIN views.notification_readers r ON r.user_id = n.user_id
WHERE n.id = $1
