SELECT generation, position, live FROM read_models WHERE model = $1 ORDER BY generation FOR UPDATE
