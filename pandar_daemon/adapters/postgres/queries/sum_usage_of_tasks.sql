-- What executions consumed, by task, the dearest first; before that, without a key, the total.
-- There may be millions of tasks: all are ranked, but only those that are shown are summed whole,
-- and the total is taken from the days.
WITH dearest AS (
    SELECT task_id
    FROM views.usage_of_tasks
    WHERE ($1::bigint[] IS NULL OR project_id = ANY ($1))
        AND ($2::text IS NULL OR agent = $2)
        AND ($3::date IS NULL OR day >= $3)
        AND ($4::date IS NULL OR day <= $4)
    GROUP BY task_id
    ORDER BY
        sum(cost_micros) DESC,
        sum(input_tokens + output_tokens) DESC,
        sum(cpu_ms) DESC,
        task_id DESC
    LIMIT $5::bigint - 1
),
found AS (
    SELECT
        NULL::bigint AS key,
        sum(executions) AS executions,
        sum(unpriced_executions) AS unpriced_executions,
        sum(cpu_ms) AS cpu_ms,
        sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens,
        sum(cached_tokens) AS cached_tokens,
        sum(thought_tokens) AS thought_tokens,
        sum(cost_micros) AS cost_micros
    FROM views.usage_of_days
    WHERE ($1::bigint[] IS NULL OR project_id = ANY ($1))
        AND ($2::text IS NULL OR agent = $2)
        AND ($3::date IS NULL OR day >= $3)
        AND ($4::date IS NULL OR day <= $4)
    UNION ALL
    SELECT
        task_id,
        sum(executions),
        sum(unpriced_executions),
        sum(cpu_ms),
        sum(input_tokens),
        sum(output_tokens),
        sum(cached_tokens),
        sum(thought_tokens),
        sum(cost_micros)
    FROM views.usage_of_tasks
    JOIN dearest USING (task_id)
    WHERE ($1::bigint[] IS NULL OR project_id = ANY ($1))
        AND ($2::text IS NULL OR agent = $2)
        AND ($3::date IS NULL OR day >= $3)
        AND ($4::date IS NULL OR day <= $4)
    GROUP BY task_id
)
SELECT * FROM found
ORDER BY
    key IS NOT NULL,
    cost_micros DESC,
    input_tokens + output_tokens DESC,
    cpu_ms DESC,
    key DESC
