UPDATE licenses SET lasts_from_activation = 'P30D' WHERE license_key = 'FXSGHT-2222-2222-2222-2222';
