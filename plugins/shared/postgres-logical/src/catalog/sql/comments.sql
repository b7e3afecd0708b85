-- What there is to say about objects and their columns: class, number, what stands before, the column as COMMENT ON and SECURITY LABEL name it, what stands after.
-- A new database has a schema `public` with a comment, and so has an extension that is made anew: it may have been taken away.
SELECT d.classoid, d.objoid, 'COMMENT ON', CASE WHEN d.objsubid <> 0 THEN format('COLUMN %s.%I', d.objoid::regclass, a.attname) END, 'IS ' || quote_literal(d.description)
FROM pg_description d LEFT JOIN pg_attribute a ON d.classoid = 'pg_class'::regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 2200 AND d.description <> 'standard public schema')
UNION ALL
SELECT s.classoid, s.objoid, format('SECURITY LABEL FOR %I ON', s.provider), CASE WHEN s.objsubid <> 0 THEN format('COLUMN %s.%I', s.objoid::regclass, a.attname) END, 'IS ' || quote_literal(s.label)
FROM pg_seclabel s LEFT JOIN pg_attribute a ON s.classoid = 'pg_class'::regclass AND a.attrelid = s.objoid AND a.attnum = s.objsubid
UNION ALL
SELECT n.tableoid, n.oid, 'COMMENT ON', NULL, 'IS NULL'
FROM (SELECT tableoid, oid FROM pg_namespace WHERE nspname = 'public' UNION ALL SELECT tableoid, oid FROM pg_extension WHERE oid >= 16384) n
WHERE NOT EXISTS (SELECT FROM pg_description d WHERE d.classoid = n.tableoid AND d.objoid = n.oid)
UNION ALL
SELECT d.classid, d.objid, 'ALTER', NULL, format('DEPENDS ON EXTENSION %I', e.extname)
FROM pg_depend d JOIN pg_extension e ON d.refclassid = e.tableoid AND d.refobjid = e.oid WHERE d.deptype = 'x'
ORDER BY 1, 2, 4, 3, 5
