-- Only a superuser sees where a subscription connects to. It comes back without connecting: which end is the real one now, only the operator knows.
SELECT s.tableoid, s.oid, 'SUBSCRIPTION', NULL, s.subname, format('SUBSCRIPTION %I', s.subname), pg_get_userbyid(s.subowner),
       format('CREATE SUBSCRIPTION %I CONNECTION %L PUBLICATION %s WITH (connect = false, slot_name = %s%s)', s.subname, s.subconninfo,
         (SELECT string_agg(quote_ident(publication), ', ') FROM unnest(s.subpublications) publication), coalesce(quote_literal(s.subslotname), 'NONE'),
         concat(CASE WHEN s.subsynccommit <> 'off' THEN format(', synchronous_commit = %L', s.subsynccommit) END
--@14-15   , CASE WHEN s.subbinary THEN ', binary = true' END, CASE WHEN s.substream THEN ', streaming = true' END
--@16+     , CASE WHEN s.subbinary THEN ', binary = true' END, CASE s.substream WHEN 't' THEN ', streaming = on' WHEN 'p' THEN ', streaming = parallel' ELSE ', streaming = off' END
--@15+     , CASE WHEN s.subtwophasestate <> 'd' THEN ', two_phase = on' END, CASE WHEN s.subdisableonerr THEN ', disable_on_error = true' END
--@16+     , CASE WHEN NOT s.subpasswordrequired THEN ', password_required = false' END, CASE WHEN s.subrunasowner THEN ', run_as_owner = true' END, CASE WHEN s.suborigin <> 'any' THEN format(', origin = %L', s.suborigin) END
--@17+     , CASE WHEN s.subfailover THEN ', failover = true' END
         ))
FROM pg_subscription s
WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
