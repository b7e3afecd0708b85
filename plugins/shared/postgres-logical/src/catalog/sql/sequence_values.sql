SELECT c.tableoid, c.oid, c.oid::regclass,
       format('SELECT pg_catalog.format(''SELECT pg_catalog.setval(%%L, %%s, %%L)'', %L, last_value, is_called) FROM %s', c.oid::regclass, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_depend d ON d.classid = c.tableoid AND d.objid = c.oid AND d.deptype = 'e'
     LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE c.oid >= 16384 AND c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND (e.oid IS NULL OR c.oid = ANY (e.extconfig))
ORDER BY n.nspname, c.relname
