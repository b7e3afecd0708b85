-- By themselves, because a check may call a function that takes the domain. One that is not validated comes after the data, which it may contradict.
SELECT k.tableoid, k.oid, CASE WHEN k.convalidated THEN 'DOMAIN CONSTRAINT' ELSE 'CONSTRAINT' END, n.nspname, t.typname || ' ' || k.conname,
       format('CONSTRAINT %I ON DOMAIN %s', k.conname, t.oid::regtype), NULL,
       format('ALTER DOMAIN %s ADD CONSTRAINT %I %s', t.oid::regtype, k.conname, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN pg_type t ON t.oid = k.contypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE k.contype IN ('c', 'n') AND k.oid >= 16384
