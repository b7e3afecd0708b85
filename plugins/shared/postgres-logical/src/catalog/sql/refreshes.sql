-- Our own catalog 3.
SELECT 3, c.oid, 'MATERIALIZED VIEW DATA', n.nspname, c.relname, NULL, NULL, format('REFRESH MATERIALIZED VIEW %s', c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind = 'm' AND c.relispopulated AND n.nspname !~ '^pg_'
