SELECT t.tableoid, t.oid, 'TRANSFORM', NULL, format('%s %s', format_type(t.trftype, NULL), l.lanname),
       format('TRANSFORM FOR %s LANGUAGE %I', format_type(t.trftype, NULL), l.lanname), NULL,
       format('CREATE TRANSFORM FOR %s LANGUAGE %I (%s)', format_type(t.trftype, NULL), l.lanname,
         concat_ws(', ', CASE WHEN t.trffromsql <> 0 THEN format('FROM SQL WITH FUNCTION %s', t.trffromsql::oid::regprocedure) END,
                         CASE WHEN t.trftosql <> 0 THEN format('TO SQL WITH FUNCTION %s', t.trftosql::oid::regprocedure) END))
FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang
WHERE t.oid >= 16384
