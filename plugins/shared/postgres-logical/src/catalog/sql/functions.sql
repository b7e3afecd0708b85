-- Procedures may differ in their OUT arguments only, which `regprocedure` doesn't have.
SELECT p.tableoid, p.oid, CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, n.nspname, p.proname,
       CASE p.prokind WHEN 'p' THEN format('PROCEDURE %I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) ELSE 'FUNCTION ' || p.oid::regprocedure END, pg_get_userbyid(p.proowner), pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid >= 16384 AND p.prokind <> 'a' AND n.nspname !~ '^pg_'
