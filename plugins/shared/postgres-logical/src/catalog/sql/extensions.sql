-- What an extension consists of comes with it, so it has no version here: the target's own is taken.
SELECT e.tableoid, e.oid, 'EXTENSION', NULL, e.extname, format('EXTENSION %I', e.extname), NULL,
       format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', e.extname, n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.oid >= 16384
