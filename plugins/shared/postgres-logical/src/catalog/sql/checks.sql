-- Those that a table's own statement does not have. One that is not validated comes after the data, which it may contradict. One that calls a function is by itself, since the function may
-- need the table; a child that has it of its parent only gets it with its parent's.
SELECT k.tableoid, k.oid, CASE WHEN k.convalidated AND (within.within OR k.conislocal) THEN 'CHECK CONSTRAINT' ELSE 'CONSTRAINT' END, n.nspname, format('%s %s', c.relname, k.conname),
       format('CONSTRAINT %I ON %s', k.conname, c.oid::regclass), NULL,
       CASE WHEN k.conislocal AND NOT (k.convalidated AND within.within)
         THEN format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid)) ELSE '' END, c.oid
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)) AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = k.tableoid AND d.objid = k.oid AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) AND d.refobjid >= 16384) AS within) within
WHERE k.oid >= 16384 AND k.contype = 'c' AND k.conrelid <> 0 AND n.nspname !~ '^pg_'
