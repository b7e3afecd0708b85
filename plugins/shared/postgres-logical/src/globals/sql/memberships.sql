-- From 16 on a grantor must have been given the right to grant before: the cluster's first superuser begins, then come those who have it from there, and so on. When a grant was made
-- doesn't tell: who has the right twice may have lost what it began with.
--@16+ WITH RECURSIVE given(oid, depth) AS (
--@16+   SELECT m.oid, 0 FROM pg_auth_members m WHERE m.grantor = 10
--@16+   UNION
--@16+   SELECT next.oid, given.depth + 1
--@16+   FROM given JOIN pg_auth_members m ON m.oid = given.oid AND m.admin_option JOIN pg_auth_members next ON next.roleid = m.roleid AND next.grantor = m.member
--@16+   WHERE next.grantor <> 10
--@16+ )
SELECT format('%s to %s', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member)),
       format('GRANT %I TO %I%s', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member),
--@<16   concat(CASE WHEN m.admin_option THEN ' WITH ADMIN OPTION' END, CASE WHEN EXISTS (SELECT FROM pg_roles g WHERE g.oid = m.grantor) THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) END))
--@16+   format(' WITH ADMIN %s, INHERIT %s, SET %s GRANTED BY %I', m.admin_option::text, m.inherit_option::text, m.set_option::text, pg_get_userbyid(m.grantor)))
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
WHERE NOT (pg_get_userbyid(m.roleid) ~ '^pg_' AND pg_get_userbyid(m.member) ~ '^pg_')
--@<16 ORDER BY 1
--@16+ ORDER BY (SELECT min(given.depth) FROM given WHERE given.oid = m.oid), m.oid
