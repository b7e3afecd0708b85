-- Our own catalog 5.
SELECT 5, c.oid, 'ROW SECURITY', n.nspname, c.relname, NULL, NULL, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', c.oid::regclass), c.oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relrowsecurity AND n.nspname !~ '^pg_'
