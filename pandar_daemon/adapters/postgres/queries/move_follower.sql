INSERT INTO followers (follower, position) VALUES ($1, $2)
ON CONFLICT (follower) DO UPDATE SET position = excluded.position
WHERE followers.position < excluded.position
