-- Tables of extensions whose foreign keys are there before their rows: which needs which.
SELECT DISTINCT k.conrelid, k.confrelid
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conrelid <> k.confrelid AND k.conrelid IN (SELECT unnest(e.extconfig) FROM pg_extension e)
  AND k.confrelid IN (SELECT unnest(e.extconfig) FROM pg_extension e)
