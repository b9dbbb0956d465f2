UPDATE seats SET valid_until = '2026-11-26 12:00:00', exp = '2026-11-29 12:00:00' WHERE freed_at IS NULL;
INSERT INTO audit_log (at, actor, action, license_id, subject, details)
VALUES ('2026-11-24 12:00:00', 'command line', 'issued', '0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'FXSGHT-****-****-****-2222', '{"tier": "standard"}');
INSERT INTO calls (hour, kind, answer, times) VALUES ('2026-11-25 12:00:00', 'heartbeat', 'confirmed', 7);
INSERT INTO usage_days (license_id, hardware_id, day, heartbeats, cameras, users, storage_gb)
VALUES ('0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11', 'new-machine', '2026-11-25', 6, 3, 1, 500);
