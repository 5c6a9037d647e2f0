-- A read model can always be made again from the log, and its checkpoint is lost or kept with it:
-- so its commit need not wait for the disk.
UPDATE read_models SET position = $4
WHERE model = $1 AND generation = $2 AND position = $3
RETURNING set_config('synchronous_commit', 'off', true)
