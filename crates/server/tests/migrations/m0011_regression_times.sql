UPDATE seats SET regressed_at = '["2026-11-24T12:00:00Z","2026-11-25T12:00:00Z"]', regressed_seq = 1795521300000 WHERE freed_at IS NOT NULL;
