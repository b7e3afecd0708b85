-- How any server identifies an object, and whether it is a table. Procedures may differ in their OUT arguments only, which are no part of `identity`.
SELECT o.catalog, o.number,
       CASE WHEN i.type = 'procedure' THEN format('procedure %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) ELSE i.type || ' ' || i.identity END,
       i.type IN ('table', 'foreign table')
FROM {objects} AS o(catalog, number)
     CROSS JOIN LATERAL pg_identify_object(o.catalog, o.number, 0) i
     LEFT JOIN pg_proc p ON o.catalog = 'pg_proc'::regclass AND p.oid = o.number
     LEFT JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE i.identity IS NOT NULL
