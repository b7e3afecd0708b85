-- Our own catalog 2.
SELECT 2, c.oid, 'TABLE ATTACH', n.nspname, c.relname, NULL, NULL,
       format('ALTER TABLE ONLY %s ATTACH PARTITION %s %s', i.inhparent::regclass, c.oid::regclass, pg_get_expr(c.relpartbound, c.oid))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.oid >= 16384 AND c.relispartition AND c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_'
