INSERT INTO add_ons (id, key_hash, key_masked, plan, grants, order_reference, note, redeem_by, created_at, created_by, license_id, amendment, redeemed_at, redeemed_by, refunded_at, refunded_by)
SELECT 31, 'abc', 'FXSADD-****-****-****-ABCD', NULL, '[{"key": "cameras", "quantity": 16}]', '4712', NULL, '2027-12-31 23:59:59', '2026-11-26 12:00:00', 'ana', id, 2, '2026-11-26 13:00:00', 'site', NULL, NULL
FROM licenses WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
INSERT INTO add_ons (id, key_hash, key_masked, plan, grants, order_reference, note, redeem_by, created_at, created_by, license_id, amendment, redeemed_at, redeemed_by, refunded_at, refunded_by)
VALUES (32, 'def', 'FXSADD-****-****-****-EFGH', 'analytics@1', '[{"key": "module.analytics_advanced", "for": "P90D"}]', NULL, 'Fair', NULL, '2026-11-26 12:00:00', 'ana', NULL, NULL, NULL, NULL, '2026-11-26 14:00:00', 'ana');
