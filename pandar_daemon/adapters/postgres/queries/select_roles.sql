-- Owning comes last and wins.
SELECT project_id, role FROM (
    SELECT project_id, role, 0 AS rank FROM views.members WHERE user_id = $1
    UNION ALL
    SELECT id, 'owner', 1 FROM views.projects WHERE owner = $1
) AS roles
ORDER BY rank
