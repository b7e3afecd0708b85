-- Our own catalog 4.
SELECT 4, c.oid, 'INDEX ATTACH', n.nspname, c.relname, NULL, NULL, format('ALTER INDEX %s ATTACH PARTITION %s', i.inhparent::regclass, c.oid::regclass), x.indrelid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_index x ON x.indexrelid = c.oid
WHERE c.oid >= 16384 AND (x.indisvalid OR c.relkind = 'I') AND n.nspname !~ '^pg_'
