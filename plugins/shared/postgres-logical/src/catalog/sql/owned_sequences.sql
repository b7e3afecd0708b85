-- OWNED BY, after sequence and table; our own catalog 1.
SELECT 1, c.oid, 'SEQUENCE OWNED BY', n.nspname, c.relname, NULL, NULL,
       format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, c.relname, d.refobjid::regclass, a.attname), d.refobjid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_depend d ON d.classid = c.tableoid AND d.objid = c.oid AND d.objsubid = 0 AND d.refclassid = c.tableoid AND d.refobjsubid > 0 AND d.deptype = 'a'
     JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE c.oid >= 16384 AND c.relkind = 'S' AND n.nspname !~ '^pg_'
