-- Of one role, or of all of them.
SELECT role.name, format('ALTER ROLE %s SET %s TO %s', role.name, name.name, value.value)
FROM pg_db_role_setting s, unnest(s.setconfig) WITH ORDINALITY AS setting(setting, place),
     LATERAL (SELECT CASE WHEN s.setrole = 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(s.setrole)) END AS name) role,
     LATERAL (SELECT split_part(setting, '=', 1) AS plain) plain,
     -- A setting's name may have dots, each part an identifier.
     LATERAL (SELECT string_agg(quote_ident(part), '.') AS name FROM unnest(string_to_array(plain.plain, '.')) part) name,
     -- Of settings that are lists of names, the value is such a list already.
     LATERAL (SELECT CASE WHEN plain.plain IN ('search_path', 'local_preload_libraries', 'session_preload_libraries', 'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories')
                AND substr(setting, strpos(setting, '=') + 1) NOT IN ('', '""') THEN substr(setting, strpos(setting, '=') + 1)
                ELSE quote_literal(CASE substr(setting, strpos(setting, '=') + 1) WHEN '""' THEN '' ELSE substr(setting, strpos(setting, '=') + 1) END) END AS value) value
WHERE s.setdatabase = 0
ORDER BY 1, place
