SELECT f.tableoid, f.oid, 'FOREIGN DATA WRAPPER', NULL, f.fdwname, format('FOREIGN DATA WRAPPER %I', f.fdwname), pg_get_userbyid(f.fdwowner),
       format('CREATE FOREIGN DATA WRAPPER %I', f.fdwname)
       || CASE WHEN f.fdwhandler <> 0 THEN format(' HANDLER %s', f.fdwhandler::regproc) ELSE '' END
       || CASE WHEN f.fdwvalidator <> 0 THEN format(' VALIDATOR %s', f.fdwvalidator::regproc) ELSE '' END
       || coalesce((SELECT ' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')' FROM pg_options_to_table(f.fdwoptions) o), '')
FROM pg_foreign_data_wrapper f
WHERE f.oid >= 16384
UNION ALL
SELECT s.tableoid, s.oid, 'SERVER', NULL, s.srvname, format('SERVER %I', s.srvname), pg_get_userbyid(s.srvowner),
       format('CREATE SERVER %I%s%s FOREIGN DATA WRAPPER %I', s.srvname, ' TYPE ' || quote_literal(s.srvtype), ' VERSION ' || quote_literal(s.srvversion), f.fdwname)
       || coalesce((SELECT ' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')' FROM pg_options_to_table(s.srvoptions) o), '')
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
WHERE s.oid >= 16384
UNION ALL
SELECT 'pg_user_mapping'::regclass::oid, m.umid, 'USER MAPPING', NULL, format('%s %s', m.srvname, m.usename), NULL, NULL,
       format('CREATE USER MAPPING FOR %s SERVER %I', CASE WHEN m.umuser = 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END, m.srvname)
       || coalesce((SELECT ' OPTIONS (' || string_agg(format('%I %L', o.option_name, o.option_value), ', ') || ')' FROM pg_options_to_table(m.umoptions) o), '')
FROM pg_user_mappings m
