-- What executions consumed, by task, the dearest first; before that, without a key, the total.
SELECT
    task_id AS key,
    sum(executions) AS executions,
    sum(unpriced_executions) AS unpriced_executions,
    sum(cpu_ms) AS cpu_ms,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(thought_tokens) AS thought_tokens,
    sum(cost_micros) AS cost_micros
FROM views.usage_of_tasks
WHERE ($1::bigint[] IS NULL OR project_id = ANY ($1))
    AND ($2::text IS NULL OR agent = $2)
    AND ($3::date IS NULL OR day >= $3)
    AND ($4::date IS NULL OR day <= $4)
GROUP BY GROUPING SETS ((task_id), ())
ORDER BY
    grouping(task_id) DESC,
    sum(cost_micros) DESC,
    sum(input_tokens + output_tokens) DESC,
    sum(cpu_ms) DESC,
    task_id DESC
LIMIT $5
