INSERT INTO plans (name, version, published_at, author, contents)
VALUES ('standard', 2, '2026-11-25 12:00:00', 'command line', '{"title": "Standard", "description": "For small sites", "trial": false, "duration": "P1Y", "terms": {"seats": 3, "moves": 3, "movesPeriodDays": 365, "leaseHours": 48, "updatesFor": "P1Y", "updates": "enforce"}, "entitlements": [{"key": "module.map_view"}, {"key": "doors", "quantity": 4, "for": "P90D"}]}');
INSERT INTO catalogue (key, kind, name, unit, description) VALUES ('doors', 'count', 'Doors', 'door', '');
UPDATE licenses SET lease_hours = 48, updates_until = '2028-04-30 23:59:59', updates = 'enforce' WHERE id = '0b0e3a58-3a3c-4f0e-9c5c-3f2b5d3c7a11';
