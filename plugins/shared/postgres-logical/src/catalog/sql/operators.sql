-- An operator that is only named, as another one's commutator or negator, has no function: it comes back with that one.
SELECT o.tableoid, o.oid, 'OPERATOR', n.nspname, o.oprname,
       format('OPERATOR %I.%s (%s, %s)', n.nspname, o.oprname, CASE WHEN o.oprleft = 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END,
              CASE WHEN o.oprright = 0 THEN 'NONE' ELSE format_type(o.oprright, NULL) END),
       CASE WHEN o.oprcode <> 0 THEN pg_get_userbyid(o.oprowner) END,
       CASE WHEN o.oprcode <> 0 THEN format(E'CREATE OPERATOR %I.%s (\n    %s\n)', n.nspname, o.oprname,
         concat_ws(E',\n    ', format('FUNCTION = %s', o.oprcode::regproc),
           CASE WHEN o.oprleft <> 0 THEN format('LEFTARG = %s', format_type(o.oprleft, NULL)) END,
           CASE WHEN o.oprright <> 0 THEN format('RIGHTARG = %s', format_type(o.oprright, NULL)) END,
           (SELECT format('COMMUTATOR = OPERATOR(%I.%s)', cn.nspname, c.oprname) FROM pg_operator c JOIN pg_namespace cn ON cn.oid = c.oprnamespace WHERE c.oid = o.oprcom),
           (SELECT format('NEGATOR = OPERATOR(%I.%s)', cn.nspname, c.oprname) FROM pg_operator c JOIN pg_namespace cn ON cn.oid = c.oprnamespace WHERE c.oid = o.oprnegate),
           CASE WHEN o.oprcanmerge THEN 'MERGES' END, CASE WHEN o.oprcanhash THEN 'HASHES' END,
           CASE WHEN o.oprrest <> 0 THEN format('RESTRICT = %s', o.oprrest::regproc) END,
           CASE WHEN o.oprjoin <> 0 THEN format('JOIN = %s', o.oprjoin::regproc) END)) END
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace
WHERE o.oid >= 16384 AND n.nspname !~ '^pg_'
