-- Our own catalog 7, of tables and materialized views whose columns are stored otherwise than their types say.
SELECT 7, c.oid, 'COLUMN STORAGE', n.nspname, c.relname, NULL, NULL, string_agg(format('ALTER TABLE ONLY %s ALTER COLUMN %I SET %s', c.oid::regclass, a.attname, setting.setting), E';\n' ORDER BY a.attnum, setting.setting), c.oid
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
     CROSS JOIN LATERAL (
       SELECT 'STORAGE ' || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS setting WHERE a.attstorage <> t.typstorage
--@14+   UNION ALL SELECT 'COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' ELSE 'lz4' END WHERE a.attcompression <> ''
     ) setting
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname !~ '^pg_' AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY c.oid, n.nspname, c.relname
