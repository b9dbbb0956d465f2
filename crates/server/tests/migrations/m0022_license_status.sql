UPDATE licenses SET starts_at = '2026-11-24 00:00:00', trial = TRUE, counts = '{"doors": 4, "lanes": "unlimited"}' WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
