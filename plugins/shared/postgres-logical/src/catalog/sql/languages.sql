SELECT l.tableoid, l.oid, 'LANGUAGE', NULL, l.lanname, format('LANGUAGE %I', l.lanname), pg_get_userbyid(l.lanowner),
       format('CREATE %sLANGUAGE %I HANDLER %s', CASE WHEN l.lanpltrusted THEN 'TRUSTED ' END, l.lanname, l.lanplcallfoid::regproc)
       || CASE WHEN l.laninline <> 0 THEN format(' INLINE %s', l.laninline::regproc) ELSE '' END
       || CASE WHEN l.lanvalidator <> 0 THEN format(' VALIDATOR %s', l.lanvalidator::regproc) ELSE '' END
FROM pg_language l
WHERE l.oid >= 16384 AND l.lanispl
