-- The last column: bytes on disk, by which work is shared out.
-- Tables with rows of their own, and those of extensions that the extension declares to be the user's, with its condition. The rows of a partition that is chosen by the
-- hash of an enumeration's value, which is the number of a label, or of something that may have one within, go in through the root: in the target the numbers are others.
SELECT c.tableoid, c.oid, n.nspname, c.relname, c.oid::regclass,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
       configuration.condition, configuration.condition IS NOT NULL,
       CASE WHEN c.relispartition AND EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a JOIN pg_partitioned_table p ON p.partrelid = a.relid JOIN pg_opclass o ON o.oid = ANY (p.partclass::oid[])
                                              WHERE p.partstrat = 'h' AND o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops', 'oid_ops') AND o.opcnamespace = 'pg_catalog'::regnamespace) THEN pg_partition_root(c.oid) END, c.relkind = 'p',
       pg_table_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN (SELECT x.relation, coalesce(e.extcondition[x.place], '') AS condition FROM pg_extension e, unnest(e.extconfig) WITH ORDINALITY x(relation, place)) configuration
       ON configuration.relation = c.oid
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND (c.relkind = 'r' OR configuration.condition IS NOT NULL)
ORDER BY n.nspname, c.relname
