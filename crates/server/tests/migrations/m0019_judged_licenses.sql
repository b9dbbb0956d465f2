UPDATE licenses SET judged_at = '2026-11-26 12:00:00' WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
