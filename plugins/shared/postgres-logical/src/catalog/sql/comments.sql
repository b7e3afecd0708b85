-- What there is to say about objects and their columns: class, number, what stands before, what the statement calls the column or the object where not as others do, what stands after.
-- A new database has a schema `public` with a comment, and so has an extension that is made anew, if its author gave it one: it may have been taken away.
SELECT d.classoid, d.objoid, 'COMMENT ON', CASE WHEN d.objsubid <> 0 THEN format('COLUMN %s.%I', d.objoid::regclass, a.attname) END, 'IS ' || quote_literal(d.description)
FROM pg_description d LEFT JOIN pg_attribute a ON d.classoid = 'pg_class'::regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 2200 AND d.description <> 'standard public schema')
UNION ALL
SELECT s.classoid, s.objoid, format('SECURITY LABEL FOR %I ON', s.provider), CASE WHEN s.objsubid <> 0 THEN format('COLUMN %s.%I', s.objoid::regclass, a.attname) END, 'IS ' || quote_literal(s.label)
FROM pg_seclabel s LEFT JOIN pg_attribute a ON s.classoid = 'pg_class'::regclass AND a.attrelid = s.objoid AND a.attnum = s.objsubid
UNION ALL
SELECT n.tableoid, n.oid, 'COMMENT ON', NULL, 'IS NULL'
FROM (SELECT tableoid, oid FROM pg_namespace WHERE nspname = 'public'
      UNION ALL SELECT e.tableoid, e.oid FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname WHERE e.oid >= 16384 AND a.comment IS NOT NULL) n
WHERE NOT EXISTS (SELECT FROM pg_description d WHERE d.classoid = n.tableoid AND d.objoid = n.oid)
UNION ALL
-- Of functions of all kinds, aggregates too, which have no such statement by their own kind's name.
SELECT d.classid, d.objid, 'ALTER', CASE WHEN d.classid = 'pg_proc'::regclass THEN 'ROUTINE ' || d.objid::regprocedure END, format('DEPENDS ON EXTENSION %I', e.extname)
FROM pg_depend d JOIN pg_extension e ON d.refclassid = e.tableoid AND d.refobjid = e.oid
WHERE d.deptype = 'x' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_trigger'::regclass)
ORDER BY 1, 2, 4, 3, 5
