-- `pg_attver` among a column's options is a stamp that the server (from 15.20 on) gives by itself; pg_dump leaves it out too.
SELECT c.tableoid, c.oid, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, n.nspname, c.relname,
       format('%s %s', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, c.oid::regclass), pg_get_userbyid(c.relowner),
       CASE c.relkind WHEN 'v' THEN 'CREATE OR REPLACE VIEW ' ELSE 'CREATE MATERIALIZED VIEW ' END || c.oid::regclass
       || CASE WHEN c.relam <> 0 AND am.amname <> 'heap' THEN format(' USING %I', am.amname) ELSE '' END
       || coalesce((SELECT ' WITH (' || string_agg(o.option, ', ') || ')' FROM (
            SELECT format('%I=%L', split_part(plain, '=', 1), substr(plain, strpos(plain, '=') + 1)) AS option FROM unnest(c.reloptions) plain
            UNION ALL
            SELECT format('toast.%I=%L', split_part(plain, '=', 1), substr(plain, strpos(plain, '=') + 1)) FROM unnest(toast.reloptions) plain) o), '')
       || CASE WHEN c.reltablespace <> 0 THEN (SELECT format(' TABLESPACE %I', spcname) FROM pg_tablespace ts WHERE ts.oid = c.reltablespace) ELSE '' END
       || E' AS\n' || rtrim(pg_get_viewdef(c.oid), ';') || CASE c.relkind WHEN 'm' THEN E'\n  WITH NO DATA' ELSE '' END
       || coalesce((SELECT string_agg(concat(
            CASE WHEN a.attstattarget >= 0 THEN format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS %s', c.oid::regclass, a.attname, a.attstattarget) END,
            (SELECT format(E';\nALTER TABLE ONLY %s ALTER COLUMN %I SET (%s)', c.oid::regclass, a.attname, string_agg(o, ', ')) FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver=' HAVING count(*) > 0)
          ), '' ORDER BY a.attnum) FROM pg_attribute a WHERE c.relkind = 'm' AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am am ON am.oid = c.relam LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
WHERE c.oid >= 16384 AND c.relkind IN ('v', 'm') AND n.nspname !~ '^pg_' AND c.relpersistence <> 't'
