SELECT p.tableoid, p.oid, 'TEXT SEARCH PARSER', n.nspname, p.prsname, format('TEXT SEARCH PARSER %I.%I', n.nspname, p.prsname), NULL::name,
       format('CREATE TEXT SEARCH PARSER %I.%I (START = %s, GETTOKEN = %s, END = %s, LEXTYPES = %s%s)', n.nspname, p.prsname, p.prsstart, p.prstoken, p.prsend,
         p.prslextype, CASE WHEN p.prsheadline <> 0 THEN format(', HEADLINE = %s', p.prsheadline) END)
FROM pg_ts_parser p JOIN pg_namespace n ON n.oid = p.prsnamespace
WHERE p.oid >= 16384 AND n.nspname !~ '^pg_'
UNION ALL
SELECT t.tableoid, t.oid, 'TEXT SEARCH TEMPLATE', n.nspname, t.tmplname, format('TEXT SEARCH TEMPLATE %I.%I', n.nspname, t.tmplname), NULL,
       format('CREATE TEXT SEARCH TEMPLATE %I.%I (%sLEXIZE = %s)', n.nspname, t.tmplname, CASE WHEN t.tmplinit <> 0 THEN format('INIT = %s, ', t.tmplinit) END, t.tmpllexize)
FROM pg_ts_template t JOIN pg_namespace n ON n.oid = t.tmplnamespace
WHERE t.oid >= 16384 AND n.nspname !~ '^pg_'
UNION ALL
SELECT d.tableoid, d.oid, 'TEXT SEARCH DICTIONARY', n.nspname, d.dictname, format('TEXT SEARCH DICTIONARY %I.%I', n.nspname, d.dictname), pg_get_userbyid(d.dictowner),
       format('CREATE TEXT SEARCH DICTIONARY %I.%I (TEMPLATE = %I.%I%s)', n.nspname, d.dictname, tn.nspname, t.tmplname, ', ' || d.dictinitoption)
FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace JOIN pg_ts_template t ON t.oid = d.dicttemplate JOIN pg_namespace tn ON tn.oid = t.tmplnamespace
WHERE d.oid >= 16384 AND n.nspname !~ '^pg_'
UNION ALL
SELECT c.tableoid, c.oid, 'TEXT SEARCH CONFIGURATION', n.nspname, c.cfgname, format('TEXT SEARCH CONFIGURATION %I.%I', n.nspname, c.cfgname), pg_get_userbyid(c.cfgowner),
       format('CREATE TEXT SEARCH CONFIGURATION %I.%I (PARSER = %I.%I)', n.nspname, c.cfgname, pn.nspname, p.prsname)
       || coalesce((SELECT string_agg(format(E';\nALTER TEXT SEARCH CONFIGURATION %I.%I ADD MAPPING FOR %I WITH %s', n.nspname, c.cfgname, m.alias, m.dictionaries), '' ORDER BY m.maptokentype)
                    FROM (SELECT map.maptokentype, (SELECT token.alias FROM ts_token_type(c.cfgparser) token WHERE token.tokid = map.maptokentype) AS alias,
                                 string_agg(map.mapdict::regdictionary::text, ', ' ORDER BY map.mapseqno) AS dictionaries
                          FROM pg_ts_config_map map WHERE map.mapcfg = c.oid GROUP BY map.maptokentype) m), '')
FROM pg_ts_config c JOIN pg_namespace n ON n.oid = c.cfgnamespace JOIN pg_ts_parser p ON p.oid = c.cfgparser JOIN pg_namespace pn ON pn.oid = p.prsnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^pg_'
