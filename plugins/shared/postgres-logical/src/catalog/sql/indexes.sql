-- One that is not valid is what an interrupted CREATE INDEX CONCURRENTLY has left: it is told, not carried.
SELECT ic.tableoid, ic.oid, CASE WHEN i.indisvalid OR ic.relkind = 'I' THEN 'INDEX' ELSE 'INVALID INDEX' END, n.nspname, ic.relname, CASE WHEN i.indisvalid OR ic.relkind = 'I' THEN format('INDEX %s', ic.oid::regclass) END, NULL,
       CASE WHEN NOT (i.indisvalid OR ic.relkind = 'I') OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = ic.oid AND k.contype IN ('p', 'u', 'x')) THEN ''
         ELSE concat(
           CASE WHEN ic.reltablespace <> 0 THEN (SELECT format(E'SET default_tablespace = %I;\n', spcname) FROM pg_tablespace ts WHERE ts.oid = ic.reltablespace) END,
           pg_get_indexdef(ic.oid),
           CASE WHEN ic.reltablespace <> 0 THEN E';\nSET default_tablespace = ''''' END,
           CASE WHEN i.indisclustered THEN format(E';\nALTER TABLE %s CLUSTER ON %I', c.oid::regclass, ic.relname) END,
           CASE WHEN i.indisreplident THEN format(E';\nALTER TABLE ONLY %s REPLICA IDENTITY USING INDEX %I', c.oid::regclass, ic.relname) END,
           (SELECT string_agg(format(E';\nALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', ic.oid::regclass, a.attnum, a.attstattarget), '' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = ic.oid AND a.attnum > 0 AND a.attstattarget >= 0)) END, c.oid
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = ic.relnamespace
WHERE ic.oid >= 16384 AND n.nspname !~ '^pg_'
