-- Array types, the row types of tables, and multirange types come with what they belong to. From 17 on NOT NULL of a domain is a constraint with a name.
SELECT t.tableoid, t.oid, CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, t.typname,
       format('%s %I.%I', CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, t.typname), pg_get_userbyid(t.typowner),
       CASE
         WHEN NOT t.typisdefined THEN format('CREATE TYPE %I.%I', n.nspname, t.typname)
         WHEN t.typtype = 'e' THEN format(E'CREATE TYPE %I.%I AS ENUM (%s\n)', n.nspname, t.typname,
           (SELECT string_agg(E'\n    ' || quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
         WHEN t.typtype = 'c' THEN format(E'CREATE TYPE %I.%I AS (%s\n)', n.nspname, t.typname,
           (SELECT string_agg(format(E'\n    %I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attcollation <> 0 AND a.attcollation <> at.typcollation THEN format(' COLLATE %s', a.attcollation::regcollation) END),
                     ',' ORDER BY a.attnum)
            FROM pg_attribute a JOIN pg_type at ON at.oid = a.atttypid WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
         WHEN t.typtype = 'd' THEN concat(format('CREATE DOMAIN %I.%I AS %s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod)),
           CASE WHEN t.typcollation <> bt.typcollation THEN format(' COLLATE %s', t.typcollation::regcollation) END,
--@<17    CASE WHEN t.typnotnull THEN ' NOT NULL' END,
           ' DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), quote_literal(t.typdefault)))
         WHEN t.typtype = 'r' THEN format(E'CREATE TYPE %I.%I AS RANGE (\n    %s\n)', n.nspname, t.typname,
           (SELECT concat_ws(E',\n    ', format('SUBTYPE = %s', format_type(r.rngsubtype, NULL)),
--@14+              format('MULTIRANGE_TYPE_NAME = %s', r.rngmultitypid::regtype),
                     CASE WHEN NOT oc.opcdefault THEN format('SUBTYPE_OPCLASS = %I.%I', ocn.nspname, oc.opcname) END,
                     CASE WHEN r.rngcollation <> 0 AND r.rngcollation <> st.typcollation THEN format('COLLATION = %s', r.rngcollation::regcollation) END,
                     CASE WHEN r.rngcanonical <> 0 THEN format('CANONICAL = %s', r.rngcanonical::regproc) END,
                     CASE WHEN r.rngsubdiff <> 0 THEN format('SUBTYPE_DIFF = %s', r.rngsubdiff::regproc) END)
            FROM pg_range r JOIN pg_type st ON st.oid = r.rngsubtype JOIN pg_opclass oc ON oc.oid = r.rngsubopc
                 JOIN pg_namespace ocn ON ocn.oid = oc.opcnamespace WHERE r.rngtypid = t.oid))
         WHEN t.typtype = 'b' THEN format(E'CREATE TYPE %I.%I (\n    %s\n)', n.nspname, t.typname,
           concat_ws(E',\n    ', format('INPUT = %s', t.typinput::regproc), format('OUTPUT = %s', t.typoutput::regproc),
             CASE WHEN t.typreceive <> 0 THEN format('RECEIVE = %s', t.typreceive::regproc) END,
             CASE WHEN t.typsend <> 0 THEN format('SEND = %s', t.typsend::regproc) END,
             CASE WHEN t.typmodin <> 0 THEN format('TYPMOD_IN = %s', t.typmodin::regproc) END,
             CASE WHEN t.typmodout <> 0 THEN format('TYPMOD_OUT = %s', t.typmodout::regproc) END,
             CASE WHEN t.typanalyze <> 0 THEN format('ANALYZE = %s', t.typanalyze::regproc) END,
--@14+      CASE WHEN t.typsubscript <> 0 THEN format('SUBSCRIPT = %s', t.typsubscript::regproc) END,
             format('INTERNALLENGTH = %s', CASE WHEN t.typlen = -1 THEN 'VARIABLE' ELSE t.typlen::text END),
             CASE WHEN t.typcollation <> 0 THEN 'COLLATABLE = true' END,
             'DEFAULT = ' || coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), quote_literal(t.typdefault)),
             CASE WHEN t.typelem <> 0 THEN format('ELEMENT = %s', format_type(t.typelem, NULL)) END,
             CASE WHEN t.typcategory <> 'U' THEN format('CATEGORY = %L', t.typcategory) END,
             CASE WHEN t.typispreferred THEN 'PREFERRED = true' END,
             CASE WHEN t.typdelim <> ',' THEN format('DELIMITER = %L', t.typdelim) END,
             format('ALIGNMENT = %s', CASE t.typalign WHEN 'c' THEN 'char' WHEN 's' THEN 'int2' WHEN 'i' THEN 'int4' ELSE 'double' END),
             format('STORAGE = %s', CASE t.typstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'x' THEN 'extended' ELSE 'main' END),
             CASE WHEN t.typbyval THEN 'PASSEDBYVALUE' END))
       END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_type bt ON bt.oid = t.typbasetype
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_' AND t.typtype IN ('b', 'c', 'd', 'e', 'r', 'p')
  AND (t.typrelid = 0 OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.typrelid) = 'c')
  AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
