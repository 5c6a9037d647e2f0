SELECT project_id, name, use, description, set_by, set_at
FROM views.secrets
WHERE project_id = $1
ORDER BY name
