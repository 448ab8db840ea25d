//! What Postgres offers to everybody, after what bootstrap/cluster.rs has taken away.

use std::collections::BTreeSet;

use strowger::control::clusters::Isolation::{Database, Schema};

use crate::support::world;

/// Functions of `pg_catalog` about the server, the catalogs or sessions that PUBLIC may call. Each was looked at: it works on
/// the caller's own session, checks the caller's rights itself ([`super::server`], [`super::statements`]), or shows what the
/// closed list of SECURITY.md names. A new Postgres that brings another fails here until somebody has looked at that one too.
const LOOKED_AT: &str = "
currtid2 pg_available_extension_versions pg_available_extensions pg_backend_pid pg_cancel_backend pg_char_to_encoding
pg_client_encoding pg_collation_actual_version pg_collation_for pg_column_compression pg_column_is_updatable
pg_column_size pg_conf_load_time pg_copy_logical_replication_slot pg_copy_physical_replication_slot
pg_create_logical_replication_slot pg_create_physical_replication_slot pg_current_snapshot pg_current_xact_id
pg_current_xact_id_if_assigned pg_cursor pg_database_collation_actual_version pg_describe_object
pg_drop_replication_slot pg_encoding_to_char pg_event_trigger_ddl_commands pg_event_trigger_dropped_objects
pg_event_trigger_table_rewrite_oid pg_event_trigger_table_rewrite_reason pg_extension_config_dump
pg_extension_update_paths pg_filenode_relation pg_get_catalog_foreign_keys pg_get_constraintdef pg_get_expr
pg_get_function_arg_default pg_get_function_arguments pg_get_function_identity_arguments pg_get_function_result
pg_get_function_sqlbody pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_object_address
pg_get_partition_constraintdef pg_get_partkeydef pg_get_publication_tables pg_get_replica_identity_index
pg_get_ruledef pg_get_serial_sequence pg_get_statisticsobjdef pg_get_statisticsobjdef_columns
pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_get_wal_replay_pause_state
pg_get_wal_resource_managers pg_has_role pg_identify_object pg_identify_object_as_address pg_import_system_collations
pg_index_column_has_property pg_index_has_property pg_indexam_has_property pg_is_in_recovery pg_is_other_temp_schema
pg_is_wal_replay_paused pg_jit_available pg_logical_slot_get_binary_changes pg_logical_slot_get_changes
pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes pg_mcv_list_items pg_my_temp_schema pg_nextoid
pg_options_to_table pg_partition_ancestors pg_partition_tree pg_postmaster_start_time pg_prepared_statement
pg_read_file_old pg_relation_filenode pg_relation_filepath pg_relation_is_publishable pg_relation_is_updatable
pg_replication_slot_advance pg_rotate_logfile_old pg_sequence_last_value pg_sequence_parameters pg_settings_get_flags
pg_show_all_settings pg_sleep pg_sleep_for pg_sleep_until pg_stat_clear_snapshot pg_stat_force_next_flush
pg_stop_making_pinned_objects pg_tablespace_location pg_terminate_backend pg_timezone_abbrevs pg_timezone_names
pg_trigger_depth pg_typeof txid_current txid_current_if_assigned txid_current_snapshot
";

/// Turned red by leaving a name out of `CLOSED_FUNCTIONS` in bootstrap/cluster.rs.
#[test]
fn every_function_left_to_public_was_looked_at() {
    world(async |w| {
        let database = w.tenant("D", Database).await.database;
        let shared = w.tenant("A", Schema).await.database;
        let template = w.prefix.name("template");
        let sql = "select distinct proname::text from pg_proc p
                   where pronamespace = 'pg_catalog'::regnamespace and provolatile <> 'i' and proname ~ '^(pg_|txid_|currtid|lo)'
                     and has_function_privilege('public', oid, 'execute') and not 'cstring'::regtype = any (proargtypes::oid[])
                     and not 'internal'::regtype = any (proargtypes::oid[])
                     and prorettype not in ('internal'::regtype, 'cstring'::regtype, 'bytea'::regtype)
                     and proname !~ '_is_visible$'";
        let expected: BTreeSet<String> = LOOKED_AT.split_whitespace().map(str::to_owned).collect();
        for (cluster, name) in
            [("shared", &shared), ("dedicated", &database), ("shared", &template), ("dedicated", &template)]
        {
            let root = w.superuser(cluster, "postgres").await;
            root.batch_execute(&format!("alter database {name} with allow_connections true")).await.unwrap();
            let rows = w.superuser(cluster, name).await.query(sql, &[]).await.unwrap();
            let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
            let unexpected: Vec<_> = found.symmetric_difference(&expected).collect();
            assert!(unexpected.is_empty(), "{name} on {cluster}: {unexpected:?}");
        }
    });
}
