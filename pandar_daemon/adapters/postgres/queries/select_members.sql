SELECT user_id AS "user", role, since FROM views.members WHERE project_id = $1 ORDER BY user_id
