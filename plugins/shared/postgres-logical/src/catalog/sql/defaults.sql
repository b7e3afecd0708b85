SELECT d.tableoid, d.oid, 'DEFAULT', n.nspname, format('%s %s', c.relname, a.attname), NULL, NULL,
       format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', c.oid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid)), c.oid
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum JOIN pg_class c ON c.oid = d.adrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.oid >= 16384 AND a.attgenerated = '' AND n.nspname !~ '^pg_'
