-- From 16 on a grantor must have been given the right to grant before: the cluster's first superuser begins, and then whoever was given it earlier.
SELECT format('%s to %s', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member)),
       format('GRANT %I TO %I%s', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member),
--@<16   concat(CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' END, CASE WHEN EXISTS (SELECT FROM pg_roles g WHERE g.oid = m.grantor) THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) END))
--@16+   format(' WITH ADMIN %s, INHERIT %s, SET %s GRANTED BY %I', m.admin_option::text, m.inherit_option::text, m.set_option::text, pg_get_userbyid(m.grantor)))
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
WHERE NOT (pg_get_userbyid(m.roleid) ~ '^pg_' AND pg_get_userbyid(m.member) ~ '^pg_')
--@<16 ORDER BY 1
--@16+ ORDER BY m.grantor <> 10, m.oid
