UPDATE read_models SET live = false WHERE model = $1 AND generation <> $2 AND live
