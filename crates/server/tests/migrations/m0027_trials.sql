INSERT INTO trial_codes (id, code_hash, code_masked, plan, max_starts, max_a_day, ends_at, note, created_at, created_by, withdrawn_at, withdrawn_by, started, day, started_on_day)
VALUES ('3f2c8a54-6a3e-4a0e-9d53-0a1f3f1f3b11', 'abc', 'FXSTRY-****-****-****-ABCD', 'trial@1', 200, 20, '2027-06-30 23:59:59', 'Fair', '2026-11-26 12:00:00', 'ana', NULL, NULL, 3, '2026-11-27', 2);
INSERT INTO trials (id, installation_id, hardware_id, code_id, license_id, started_at)
SELECT 51, 'an-installation', 'a-machine', '3f2c8a54-6a3e-4a0e-9d53-0a1f3f1f3b11', id, '2026-11-27 09:00:00'
FROM licenses WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
