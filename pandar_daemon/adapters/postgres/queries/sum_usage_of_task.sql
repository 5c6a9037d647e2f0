-- What all executions of a task that have ended consumed.
SELECT
    sum(executions) AS executions,
    sum(unpriced_executions) AS unpriced_executions,
    sum(cpu_ms) AS cpu_ms,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cached_tokens) AS cached_tokens,
    sum(thought_tokens) AS thought_tokens,
    sum(cost_micros) AS cost_micros
FROM views.usage_of_tasks
WHERE task_id = $1
