INSERT INTO lost_numbers (after_number, until_number) VALUES (1795521600000, 1795525200000);
