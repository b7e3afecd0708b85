SELECT c.tableoid, c.oid, 'CAST', NULL, format('%s AS %s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)),
       format('CAST (%s AS %s)', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)), NULL,
       format('CREATE CAST (%s AS %s) %s%s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL),
         CASE c.castmethod WHEN 'f' THEN format('WITH FUNCTION %s', c.castfunc::regprocedure) WHEN 'b' THEN 'WITHOUT FUNCTION' ELSE 'WITH INOUT' END,
         CASE c.castcontext WHEN 'a' THEN ' AS ASSIGNMENT' WHEN 'i' THEN ' AS IMPLICIT' END)
FROM pg_cast c
WHERE c.oid >= 16384
