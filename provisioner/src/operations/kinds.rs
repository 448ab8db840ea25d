//! What each kind of job consists of, in order, and what taking it back means. This is the whole list.

use strowger::control::jobs::Kind;

/// One step of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reservation, which was made with the job; taken back, only the id is left.
    Reservation,
    /// Roles, database and schema, with everything in them.
    Home,
    Roles,
    Database,
    /// What the logins may do; and for a read-only tenant, that they may not write.
    Grants,
    /// Control says that the tenant is served.
    Activate,
    /// Control says that the tenant is not served, or not written to.
    Block,
    /// Postgres refuses the tenant's logins, and no session is left.
    Fence,
    /// Running servers know.
    Settle,
    HandOver,
    /// What an erased tenant owns in control is nobody's or gone.
    Belongings,
    DropSchema,
    DropDatabase,
    DropRoles,
    /// Nothing is left on any cluster; the data key goes, and a receipt stays.
    Shred,
    /// Control knows the login that comes next, and its password.
    Prepare,
    /// Postgres takes that login too.
    Arm,
    /// It is the one that is handed out, and the other one retires.
    Switch,
    /// Every running server knows; one that does not is an error.
    Confirm,
    /// Postgres refuses the login that retires.
    Disarm,
    /// Its sessions have ended.
    Drain,
    /// Tokens that the key signed are refused.
    RetireKey,
    /// Every running server has the master key.
    MasterKnown,
    Rewrap,
    /// None of an erased tenant's backups is in its store.
    DropBackups,
    /// A new tenant has what a backup holds.
    Fill,
    /// What a tenant is to have is made beside what it has.
    Beside,
    /// Control knows since when a restore keeps its tenant out.
    NoteShut,
    /// The two have changed names, and control knows.
    Swap,
    /// Control knows that a restore's tenant is served again.
    NoteOpen,
    /// A backup is in its store, and the catalogue says so.
    BackUp,
    /// What its schedule does not keep of a tenant's backups is gone.
    Prune,
    /// Roles and database are there where a tenant moves to.
    MakeReady,
    /// Its data is there too, and it lives there.
    Carry,
    /// Where it lived nobody logs in any more.
    Leave,
    /// Nothing is left where an erased tenant lived before, or was on its way to.
    DropOther,
}

impl Step {
    /// As stored and shown.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reservation => "reservation",
            Self::Home => "home",
            Self::Roles => "roles",
            Self::Database => "database",
            Self::Grants => "grants",
            Self::Activate => "activate",
            Self::Block => "block",
            Self::Fence => "fence",
            Self::Settle => "settle",
            Self::HandOver => "hand-over",
            Self::Belongings => "belongings",
            Self::DropSchema => "drop-schema",
            Self::DropDatabase => "drop-database",
            Self::DropRoles => "drop-roles",
            Self::Shred => "shred",
            Self::Prepare => "prepare",
            Self::Arm => "arm",
            Self::Switch => "switch",
            Self::Confirm => "confirm",
            Self::Disarm => "disarm",
            Self::Drain => "drain",
            Self::RetireKey => "retire-key",
            Self::MasterKnown => "master-known",
            Self::Rewrap => "rewrap",
            Self::DropBackups => "drop-backups",
            Self::Fill => "fill",
            Self::Beside => "beside",
            Self::NoteShut => "note-shut",
            Self::Swap => "swap",
            Self::NoteOpen => "note-open",
            Self::BackUp => "back-up",
            Self::Prune => "prune",
            Self::MakeReady => "make-ready",
            Self::Carry => "carry",
            Self::Leave => "leave",
            Self::DropOther => "drop-other",
        }
    }
}

/// The steps of a kind, in order.
pub(crate) fn steps(kind: Kind) -> &'static [Step] {
    use Step::{
        Activate, Belongings, Block, Database, DropBackups, DropDatabase, DropRoles, DropSchema, Fence, Grants,
        HandOver, Home, Reservation, Roles, Settle, Shred,
    };
    use Step::{
        Arm, BackUp, Beside, Carry, Confirm, Disarm, Drain, DropOther, Fill, Leave, MakeReady, MasterKnown, NoteOpen,
        NoteShut, Prepare, Prune, RetireKey, Rewrap, Swap, Switch,
    };
    match kind {
        Kind::Create => &[Reservation, Home, Activate],
        Kind::Repair => &[Roles, Database, Grants],
        Kind::Suspend | Kind::Delete => &[Block, Fence, Settle],
        Kind::ReadOnly => &[Block, Settle, Roles, Database, Grants],
        Kind::Resume | Kind::Undelete => &[Roles, Database, Grants, Activate, Settle],
        Kind::Erase => {
            &[Block, Fence, Belongings, Settle, DropSchema, DropDatabase, DropRoles, DropOther, DropBackups, Shred]
        }
        Kind::HandOver => &[HandOver],
        // Refused before it is waited for: nobody who knows needs it, and whoever tries it looks again.
        Kind::RotateLogin => &[Prepare, Arm, Switch, Confirm, Disarm, Drain],
        Kind::RetireKey => &[RetireKey, Confirm],
        // Nobody has to be told: whoever comes with the former login is refused, looks again and comes with the next.
        Kind::RotateAdmin => &[Prepare, Arm, Switch, Disarm, Drain],
        Kind::Rewrap => &[MasterKnown, Rewrap],
        Kind::Backup => &[BackUp, Prune],
        Kind::RestoreAs => &[Reservation, Roles, Database, Fill, Activate],
        // A tenant that may only read is let in when there is nothing that it could write to.
        Kind::Restore => &[Beside, NoteShut, Fence, Swap, Grants, Roles, Settle, NoteOpen],
        Kind::Move => &[MakeReady, Carry, Settle, Leave],
    }
}

/// The step at which a job that was begun before is gone on with. A repair begins again: it is about what is so now, and what it had
/// put right may have been undone since. A restore that has shut its tenant out does so again: a repair may have let it in since.
pub(crate) fn first(kind: Kind, reached: Option<&str>) -> usize {
    let reached = reached.filter(|_| kind != Kind::Repair);
    let at = reached.and_then(|name| steps(kind).iter().position(|step| step.name() == name)).unwrap_or(0);
    if kind == Kind::Restore { at.min(1) } else { at }
}

/// What taking a job back means to the operator; `None` for a kind that is taken back by its opposite.
pub(crate) fn undone_by(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Create | Kind::RestoreAs | Kind::RetireKey | Kind::Backup | Kind::Move => None,
        Kind::Restore => Some("`strowgerctl backup undo` takes a restore back once it is done"),
        Kind::Suspend => Some("`strowgerctl tenant resume` takes a suspension back"),
        Kind::ReadOnly => Some("`strowgerctl tenant resume` takes it back"),
        Kind::Resume => Some("`strowgerctl tenant suspend` takes a resumption back"),
        Kind::Delete => Some("`strowgerctl tenant undelete` takes a deletion back"),
        Kind::Undelete => Some("`strowgerctl tenant delete` takes an undeletion back"),
        Kind::Erase => {
            Some("an erasure is not taken back; while the grace lasts `strowgerctl tenant undelete` ends it")
        }
        Kind::Repair => Some("a repair only puts back what must be so"),
        Kind::HandOver => Some("`strowgerctl number assign` or `number release` gives the number to somebody else"),
        Kind::RotateAdmin => Some("`strowgerctl rotate cluster` gives the provisioner yet another password there"),
        Kind::Rewrap => Some("`strowgerctl rotate master --to` the former key wraps everything with that one again"),
        Kind::RotateLogin => Some("`strowgerctl rotate tenant` gives the tenant yet another password"),
    }
}

/// The kinds that a new job of this kind ends if they still wait: they want something else for the same tenant.
pub(crate) fn supersedes(kind: Kind) -> &'static [Kind] {
    match kind {
        Kind::Suspend => &[Kind::ReadOnly, Kind::Resume, Kind::Repair],
        Kind::ReadOnly => &[Kind::Suspend, Kind::Resume, Kind::Repair],
        Kind::Resume => &[Kind::Suspend, Kind::ReadOnly],
        Kind::Delete => {
            &[Kind::Create, Kind::RestoreAs, Kind::Suspend, Kind::ReadOnly, Kind::Resume, Kind::Repair, Kind::Undelete]
        }
        Kind::Undelete => &[Kind::Delete, Kind::Erase],
        Kind::Erase => &[
            Kind::Create,
            Kind::RestoreAs,
            Kind::Suspend,
            Kind::ReadOnly,
            Kind::Resume,
            Kind::Repair,
            Kind::Delete,
            Kind::Undelete,
            Kind::Move,
        ],
        Kind::Create
        | Kind::Repair
        | Kind::HandOver
        | Kind::RotateLogin
        | Kind::RetireKey
        | Kind::Rewrap
        | Kind::RotateAdmin
        | Kind::Backup
        | Kind::RestoreAs
        | Kind::Restore
        | Kind::Move => &[],
    }
}
