-- Statements about this database, each cut in two where its name is, so that it can have another one: what, before, after. Whoever granted on comes after whom
-- the right came from.
WITH RECURSIVE held AS (
  SELECT d.oid AS what, d.datdba AS owner, h.*
  FROM pg_database d, aclexplode(d.datacl) WITH ORDINALITY h(grantor, grantee, privilege_type, is_grantable, place) WHERE d.datname = current_database()
), {passed_on}
SELECT 'create', 'CREATE DATABASE ', format(' WITH TEMPLATE = template0 ENCODING = %L%s%s%s%s', pg_encoding_to_char(d.encoding),
--@<15   format(' LC_COLLATE = %L LC_CTYPE = %L', d.datcollate, d.datctype), '',
--@15-16 format(' LOCALE_PROVIDER = %s LC_COLLATE = %L LC_CTYPE = %L', CASE d.datlocprovider WHEN 'i' THEN 'icu' ELSE 'libc' END, d.datcollate, d.datctype), ' ICU_LOCALE = ' || quote_literal(d.daticulocale),
--@17+   format(' LOCALE_PROVIDER = %s LC_COLLATE = %L LC_CTYPE = %L', CASE d.datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END, d.datcollate, d.datctype),
--@17+   CASE d.datlocprovider WHEN 'i' THEN ' ICU_LOCALE = ' WHEN 'b' THEN ' BUILTIN_LOCALE = ' END || quote_literal(d.datlocale),
--@<16   '',
--@16+   ' ICU_RULES = ' || quote_literal(d.daticurules),
         (SELECT format(' TABLESPACE = %I', t.spcname) FROM pg_tablespace t WHERE t.oid = d.dattablespace AND t.spcname <> 'pg_default'))
FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT 'owner', 'ALTER DATABASE ', format(' OWNER TO %I', pg_get_userbyid(d.datdba)) FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT 'limit', 'ALTER DATABASE ', format(' CONNECTION LIMIT %s', d.datconnlimit) FROM pg_database d WHERE d.datname = current_database() AND d.datconnlimit <> -1
UNION ALL
SELECT 'template', 'ALTER DATABASE ', ' IS_TEMPLATE true' FROM pg_database d WHERE d.datname = current_database() AND d.datistemplate
UNION ALL
SELECT 'comment', 'COMMENT ON DATABASE ', format(' IS %L', s.description)
FROM pg_database d JOIN pg_shdescription s ON s.classoid = d.tableoid AND s.objoid = d.oid WHERE d.datname = current_database()
UNION ALL
SELECT 'label', format('SECURITY LABEL FOR %I ON DATABASE ', s.provider), format(' IS %L', s.label)
FROM pg_database d JOIN pg_shseclabel s ON s.classoid = d.tableoid AND s.objoid = d.oid WHERE d.datname = current_database()
UNION ALL
(SELECT 'setting', CASE WHEN s.setrole = 0 THEN 'ALTER DATABASE ' ELSE format('ALTER ROLE %I IN DATABASE ', pg_get_userbyid(s.setrole)) END, format(' SET %s TO %s', name.name, value.value)
FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid, {setting}
WHERE d.datname = current_database()
ORDER BY s.setrole, place)
UNION ALL
(SELECT 'revoke', format('REVOKE %s ON DATABASE ', string_agg(b.privilege_type, ', ' ORDER BY b.privilege_type)), format(' FROM %s', CASE WHEN b.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(b.grantee)) END)
FROM pg_database d, aclexplode(acldefault('d', d.datdba)) b
WHERE d.datname = current_database() AND d.datacl IS NOT NULL
  AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) h WHERE (h.grantor, h.grantee, h.privilege_type) = (b.grantor, b.grantee, b.privilege_type))
GROUP BY b.grantee)
UNION ALL
(SELECT 'grant', concat(CASE WHEN h.grantor <> h.owner THEN format(E'SET SESSION AUTHORIZATION %I;\n', pg_get_userbyid(h.grantor)) END, format('GRANT %s ON DATABASE ', string_agg(h.privilege_type, ', ' ORDER BY h.place))),
        concat(' TO ', CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(h.grantee)) END, CASE WHEN h.is_grantable THEN ' WITH GRANT OPTION' END,
               CASE WHEN h.grantor <> h.owner THEN E';\nRESET SESSION AUTHORIZATION' END)
FROM held h LEFT JOIN allowed a ON h.grantor <> h.owner AND (a.what, a.privilege_type, a.grantee) = (h.what, h.privilege_type, h.grantor)
WHERE NOT EXISTS (SELECT FROM aclexplode(acldefault('d', h.owner)) b WHERE (h.grantor, h.grantee, h.privilege_type, h.is_grantable) = (b.grantor, b.grantee, b.privilege_type, b.is_grantable))
GROUP BY h.owner, h.grantor, h.grantee, h.is_grantable, coalesce(a.depth, 0) ORDER BY coalesce(a.depth, 0), min(h.place))
