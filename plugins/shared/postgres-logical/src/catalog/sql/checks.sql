-- Those that a table's own statement does not have. One that is not validated comes after the data, which it may contradict. What a child has of its parent only, it gets with its
-- parent's; but a partition must have it before it is attached.
SELECT k.tableoid, k.oid, CASE WHEN k.convalidated AND own.own THEN 'CHECK CONSTRAINT' ELSE 'CONSTRAINT' END, n.nspname, format('%s %s', c.relname, k.conname),
       format('CONSTRAINT %I ON %s', k.conname, c.oid::regclass), NULL,
       CASE WHEN own.own AND k.oid NOT IN (SELECT w.oid FROM within w)
         THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid)) ELSE '' END, c.oid
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL (SELECT k.conislocal OR (c.relispartition AND k.convalidated) AS own) own
WHERE k.oid >= 16384 AND k.contype = 'c' AND k.conrelid <> 0 AND n.nspname !~ '^pg_'
