SELECT t.tableoid, t.oid, 'EVENT TRIGGER', NULL, t.evtname, format('EVENT TRIGGER %I', t.evtname), pg_get_userbyid(t.evtowner),
       format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %s()', t.evtname, t.evtevent,
         (SELECT format(' WHEN TAG IN (%s)', string_agg(quote_literal(tag), ', ')) FROM unnest(t.evttags) tag HAVING count(*) > 0), t.evtfoid::regproc)
       || CASE t.evtenabled WHEN 'O' THEN '' ELSE format(E';\nALTER EVENT TRIGGER %I %s', t.evtname,
            CASE t.evtenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE REPLICA' END) END
FROM pg_event_trigger t
WHERE t.oid >= 16384
