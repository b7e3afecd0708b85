-- One that is in place, as tests of replication make them, has a location within the data directory, and is made without.
SELECT t.spcname, format('CREATE TABLESPACE %I OWNER %I LOCATION %L', t.spcname, pg_get_userbyid(t.spcowner), CASE WHEN pg_tablespace_location(t.oid) !~ '^pg_tblspc/' THEN pg_tablespace_location(t.oid) ELSE '' END),
       concat_ws(E';\n', (SELECT format('ALTER TABLESPACE %I SET (%s)', t.spcname, string_agg(o, ', ')) FROM unnest(t.spcoptions) o HAVING count(*) > 0),
         format('COMMENT ON TABLESPACE %I IS ', t.spcname) || quote_literal(d.description))
FROM pg_tablespace t LEFT JOIN pg_shdescription d ON d.classoid = t.tableoid AND d.objoid = t.oid
WHERE t.spcname !~ '^pg_'
ORDER BY t.spcname
