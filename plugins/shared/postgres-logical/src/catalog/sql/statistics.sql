SELECT s.tableoid, s.oid, 'STATISTICS', n.nspname, s.stxname, format('STATISTICS %I.%I', n.nspname, s.stxname), pg_get_userbyid(s.stxowner),
       pg_get_statisticsobjdef(s.oid) || CASE WHEN s.stxstattarget >= 0 THEN format(E';\nALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, s.stxstattarget) ELSE '' END, s.stxrelid
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE s.oid >= 16384 AND n.nspname !~ '^pg_'
