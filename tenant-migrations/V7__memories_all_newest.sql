-- strowger: no transaction
-- The newest memories of all callers, page by page: memories_newest begins with the caller, so without one every row was sorted.
create index concurrently if not exists memories_all_newest on memories (created_at desc, id desc);
