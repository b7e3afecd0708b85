SELECT r.tableoid, r.oid, 'RULE', n.nspname, format('%s %s', c.relname, r.rulename), format('RULE %I ON %s', r.rulename, c.oid::regclass), NULL,
       rtrim(pg_get_ruledef(r.oid), ';') || CASE r.ev_enabled WHEN 'O' THEN '' ELSE format(E';\nALTER TABLE %s %s RULE %I', c.oid::regclass,
         CASE r.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END, r.rulename) END, c.oid
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.oid >= 16384 AND n.nspname !~ '^pg_' AND r.rulename <> '_RETURN'
