SELECT p.tableoid, p.oid, 'PUBLICATION', NULL, p.pubname, format('PUBLICATION %I', p.pubname), pg_get_userbyid(p.pubowner),
       format('CREATE PUBLICATION %I%s WITH (publish = %L%s)', p.pubname, CASE WHEN p.puballtables THEN ' FOR ALL TABLES' END,
         concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                   CASE WHEN p.pubtruncate THEN 'truncate' END), CASE WHEN p.pubviaroot THEN ', publish_via_partition_root = true' END)
FROM pg_publication p
WHERE p.oid >= 16384
UNION ALL
SELECT r.tableoid, r.oid, 'PUBLICATION TABLE', NULL, format('%s.%s %s', n.nspname, c.relname, p.pubname), NULL, NULL,
       format('ALTER PUBLICATION %I ADD TABLE ONLY %s', p.pubname, c.oid::regclass)
--@15+   || coalesce((SELECT ' (' || string_agg(quote_ident(a.attname), ', ' ORDER BY columns.place) || ')'
--@15+                FROM unnest(r.prattrs) WITH ORDINALITY columns(number, place) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = columns.number), '')
--@15+   || coalesce(' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')', '')
FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid >= 16384
--@15+ UNION ALL
--@15+ SELECT r.tableoid, r.oid, 'PUBLICATION SCHEMA', NULL, format('%s %s', n.nspname, p.pubname), NULL, NULL,
--@15+        format('ALTER PUBLICATION %I ADD TABLES IN SCHEMA %I', p.pubname, n.nspname)
--@15+ FROM pg_publication_namespace r JOIN pg_publication p ON p.oid = r.pnpubid JOIN pg_namespace n ON n.oid = r.pnnspid
