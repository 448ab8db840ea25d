-- How far a job is within a step that takes long, in words, while somebody is at it: bytes that were copied, what is waited for.

alter table jobs add column detail text;
