SELECT position FROM read_models WHERE model = $1 AND live
