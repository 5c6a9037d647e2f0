-- A user's notifications before a position, newest first.
SELECT n.*, n.is_read OR coalesce(r.read_up_to, 0) >= n.marked_at AS read_by_user
FROM views.notifications n
LEFT JOIN views.notification_readers r ON r.user_id = n.user_id
WHERE n.user_id = $1
    AND ($2::bigint IS NULL OR n.position < $2)
    AND (NOT $3::boolean OR NOT n.is_read AND n.marked_at > coalesce(r.read_up_to, 0))
    AND (cardinality($4::text[]) = 0 OR n.type = ANY ($4))
ORDER BY n.position DESC
LIMIT $5
