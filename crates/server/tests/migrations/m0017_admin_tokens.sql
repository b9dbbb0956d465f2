INSERT INTO admin_tokens (id, name, hash, note, created_at, created_by, expires_at, last_used_at, revoked_at)
VALUES (41, 'ana', 'abc', 'Sales', '2026-11-26 12:00:00', 'command line', '2027-11-26 23:59:59', '2026-11-26 13:00:00', NULL),
       (42, 'ben', 'def', NULL, '2026-11-26 12:00:00', 'ana', NULL, NULL, '2026-11-26 14:00:00');
INSERT INTO console_sessions (id, begun_at, used_at, token_id)
VALUES ('def', '2026-11-26 12:00:00', '2026-11-26 12:20:00', 41);
