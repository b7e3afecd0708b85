-- What a row `s` of `pg_db_role_setting` sets, as SQL has it: `name.name`, `value.value`.
unnest(s.setconfig) WITH ORDINALITY AS setting(setting, place),
     LATERAL (SELECT split_part(setting, '=', 1) AS plain, substr(setting, strpos(setting, '=') + 1) AS text) raw,
     -- A setting's name may have dots, each part an identifier.
     LATERAL (SELECT string_agg(quote_ident(part), '.') AS name FROM unnest(string_to_array(raw.plain, '.')) part) name,
     -- Of a list of names, each is a string of its own here: as an identifier it could neither be empty nor a reserved word. Without quotation marks it is the server's to fold.
     LATERAL (SELECT string_agg(quote_literal(CASE WHEN element LIKE '"%' THEN replace(substr(element, 2, length(element) - 2), '""', '"')
                                                   WHEN raw.plain LIKE '%libraries' OR raw.plain LIKE '%directories' THEN element ELSE lower(element) END), ', ' ORDER BY number) AS names
              FROM regexp_matches(raw.text, '\s*("(?:[^"]|"")*"|[^",]*[^",\s])\s*(?:,|$)', 'g') WITH ORDINALITY listed(match, number), LATERAL (SELECT match[1] AS element) one
              WHERE raw.plain IN ('search_path', 'local_preload_libraries', 'session_preload_libraries', 'shared_preload_libraries', 'temp_tablespaces', 'unix_socket_directories')) list,
     LATERAL (SELECT coalesce(list.names, quote_literal(raw.text)) AS value) value
