-- The last column: what a sequence is owned by, or itself. One that an identity column has depends on it internally, and is made with the identity. Then it is the column's, for good.
SELECT c.tableoid, c.oid, CASE WHEN d.objid IS NULL THEN 'SEQUENCE' ELSE 'IDENTITY' END, n.nspname, c.relname, format('SEQUENCE %I.%I', n.nspname, c.relname),
       CASE WHEN d.objid IS NULL THEN pg_get_userbyid(c.relowner) END,
       CASE WHEN d.objid IS NULL
         THEN format('CREATE %sSEQUENCE %I.%I AS %s %s', CASE WHEN c.relpersistence = 'u' THEN 'UNLOGGED ' END, n.nspname, c.relname, format_type(s.seqtypid, NULL), o.options)
         ELSE format(E'ALTER TABLE %s ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (\n    SEQUENCE NAME %I.%I %s\n)%s', d.refobjid::regclass, a.attname,
           CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, n.nspname, c.relname, o.options,
           CASE WHEN current_setting('server_version_num')::int >= 150000 AND c.relpersistence <> t.relpersistence
             THEN format(E';\nALTER SEQUENCE %I.%I SET %s', n.nspname, c.relname, CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END) END)
       END,
       coalesce((SELECT o.refobjid FROM pg_depend o WHERE o.classid = c.tableoid AND o.objid = c.oid AND o.refclassid = c.tableoid AND o.refobjsubid > 0 AND o.deptype IN ('a', 'i')), c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
     CROSS JOIN LATERAL (SELECT format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
                                       s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END) AS options) o
     LEFT JOIN pg_depend d ON d.classid = c.tableoid AND d.objid = c.oid AND d.objsubid = 0 AND d.refclassid = c.tableoid AND d.refobjsubid > 0 AND d.deptype = 'i'
     LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     LEFT JOIN pg_class t ON t.oid = d.refobjid
WHERE c.oid >= 16384 AND c.relkind = 'S' AND n.nspname !~ '^pg_'
