SELECT m.model, m.generation, m.version, m.position, m.live,
    coalesce(array_agg(p.stream) FILTER (WHERE p.stream IS NOT NULL), '{}') AS parked
FROM read_models m
LEFT JOIN parked p USING (model, generation)
GROUP BY m.model, m.generation
ORDER BY m.model, m.generation
