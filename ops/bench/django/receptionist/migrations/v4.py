from receptionist.sql import migration

Migration = migration(4)
