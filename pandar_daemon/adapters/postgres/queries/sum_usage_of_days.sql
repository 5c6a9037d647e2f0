-- What executions consumed, by one column; before that, in the row without a key, the total.
SELECT
    key,
    sum(executions) AS executions,
    sum(unpriced_executions) AS unpriced_executions,
    sum(cpu_ms) AS cpu_ms,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(thought_tokens) AS thought_tokens,
    sum(cost_micros) AS cost_micros
FROM (
    SELECT *, CASE $6
        WHEN 'day' THEN to_char(day, 'YYYY-MM-DD')
        WHEN 'agent' THEN agent
        ELSE project_id::text
    END AS key
    FROM views.usage_of_days
    WHERE ($1::bigint[] IS NULL OR project_id = ANY ($1))
        AND ($2::text IS NULL OR agent = $2)
        AND ($3::date IS NULL OR day >= $3)
        AND ($4::date IS NULL OR day <= $4)
) AS wanted
GROUP BY GROUPING SETS ((key), ())
ORDER BY
    grouping(key) DESC,
    CASE WHEN $6 = 'day' THEN key END DESC,
    sum(cost_micros) DESC,
    sum(input_tokens + output_tokens) DESC,
    sum(cpu_ms) DESC,
    key
LIMIT $5
