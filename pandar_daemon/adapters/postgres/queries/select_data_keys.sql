SELECT k.project_id, k.key_id, k.sealed,
    (SELECT count(*) FROM views.secrets s WHERE s.project_id = k.project_id) AS secrets
FROM views.data_keys k
ORDER BY k.project_id
