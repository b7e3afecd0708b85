-- Of one role, or of all of them.
SELECT role.name, format('ALTER ROLE %s SET %s TO %s', role.name, name.name, value.value)
FROM pg_db_role_setting s, {setting},
     LATERAL (SELECT CASE WHEN s.setrole = 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(s.setrole)) END AS name) role
WHERE s.setdatabase = 0
ORDER BY 1, place
