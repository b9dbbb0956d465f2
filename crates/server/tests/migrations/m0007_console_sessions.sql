INSERT INTO console_sessions (id, begun_at, used_at) VALUES ('abc', '2026-11-25 12:00:00', '2026-11-25 12:20:00');
