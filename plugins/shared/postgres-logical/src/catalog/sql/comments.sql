-- What there is to say about objects and their columns: class, number, the column as COMMENT ON and SECURITY LABEL name it, provider of a label, text.
-- A new database has a schema `public` with a comment, which may have been taken away.
SELECT d.classoid, d.objoid, CASE WHEN d.objsubid <> 0 THEN format('COLUMN %s.%I', d.objoid::regclass, a.attname) END, NULL::text, quote_literal(d.description)
FROM pg_description d LEFT JOIN pg_attribute a ON d.classoid = 'pg_class'::regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid
WHERE d.objoid >= 16384 OR d.classoid = 'pg_largeobject'::regclass OR (d.classoid = 'pg_namespace'::regclass AND d.objoid = 2200 AND d.description <> 'standard public schema')
UNION ALL
SELECT s.classoid, s.objoid, CASE WHEN s.objsubid <> 0 THEN format('COLUMN %s.%I', s.objoid::regclass, a.attname) END, quote_ident(s.provider), quote_literal(s.label)
FROM pg_seclabel s LEFT JOIN pg_attribute a ON s.classoid = 'pg_class'::regclass AND a.attrelid = s.objoid AND a.attnum = s.objsubid
UNION ALL
SELECT n.tableoid, n.oid, NULL, NULL, 'NULL'
FROM pg_namespace n WHERE n.nspname = 'public' AND NOT EXISTS (SELECT FROM pg_description d WHERE d.classoid = n.tableoid AND d.objoid = n.oid)
ORDER BY 1, 2, 3, 4
