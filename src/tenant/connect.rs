//! Opens physical connections to one tenant, each with a permit and a proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod};
use tokio_postgres::error::SqlState;

use crate::budget::{Budgets, Permit};
use crate::directory::Route;
use crate::id::TenantId;
use crate::pg::{self, Connector};

/// Why a connection to a tenant was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Postgres refused: login, connect right, role limit, missing schema. The SQLSTATE says which.
    #[error("Postgres refused with SQLSTATE {}", .0.code())]
    Postgres(SqlState),
    /// No answer from the cluster.
    #[error("the cluster does not answer: {0}")]
    Unreachable(String),
    /// The connection is not what it should be. It was closed unused.
    #[error("proof of identity failed: {0}")]
    WrongIdentity(&'static str),
    /// No permit came free in time.
    #[error("all connections that this process may hold on the cluster are in use")]
    Busy,
    /// The cluster's registration is unusable.
    #[error(transparent)]
    BadAuthority(#[from] pg::BadAuthority),
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            // Starting, stopping, or ended by an operator: it is the cluster that is away, not the tenant that is refused.
            Some(code) if code.code().starts_with("57P") => Self::Unreachable(format!("SQLSTATE {}", code.code())),
            Some(code) => Self::Postgres(code.clone()),
            None => Self::Unreachable(error.to_string()),
        }
    }
}

impl OpenError {
    /// Whether it may mean that the placement we know is an old one.
    pub(super) fn is_signal(&self) -> bool {
        match self {
            Self::Postgres(code) => [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INVALID_CATALOG_NAME,
                SqlState::INSUFFICIENT_PRIVILEGE,
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                SqlState::UNDEFINED_TABLE,
            ]
            .contains(code),
            Self::WrongIdentity(_) | Self::Unreachable(_) => true,
            Self::Busy | Self::BadAuthority(_) => false,
        }
    }

    /// Whether the provisioner can mend it by putting the tenant's roles, settings and grants back.
    pub(super) fn is_repairable(&self) -> bool {
        match self {
            Self::Postgres(code) => [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INSUFFICIENT_PRIVILEGE,
            ]
            .contains(code),
            _ => false,
        }
    }
}

/// One physical connection and the permit it stands on.
pub(super) struct Connection {
    pub(super) client: ClientWrapper,
    /// A query on it failed in a way that calls for a new proof.
    pub(super) suspect: AtomicBool,
    _permit: Permit,
}

/// While a connection waits for a permit, how often idle ones are looked for that could give theirs back.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(20);

/// What a process needs to open connections to one tenant.
pub(super) struct Manager {
    route: Arc<Route>,
    inner: deadpool_postgres::Manager,
    budgets: Arc<Budgets>,
    /// Closes one idle connection on the same cluster, when the budget is spent.
    make_room: Box<dyn Fn() + Send + Sync>,
}

/// Sent in the startup packet as well as set on the role: a role can change its own settings, but not the packet.
fn startup_options(schema: &str) -> String {
    format!(
        "-c search_path={schema} -c statement_timeout=15s -c lock_timeout=5s -c idle_in_transaction_session_timeout=15s"
    )
}

impl Manager {
    pub(super) fn new(
        route: Arc<Route>,
        instance: &str,
        budgets: Arc<Budgets>,
        make_room: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Self, OpenError> {
        let mut config = pg::config(&route.placement.address);
        config
            .user(&route.placement.login)
            .password(route.password.expose())
            .dbname(&route.placement.database)
            .application_name(instance)
            .options(startup_options(&route.placement.schema));
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let inner = match pg::connector(&route.placement.address.tls)? {
            Connector::Plain(plain) => deadpool_postgres::Manager::from_config(config, plain, fast),
            Connector::Tls(tls) => deadpool_postgres::Manager::from_config(config, tls, fast),
        };
        Ok(Self { route, inner, budgets, make_room })
    }

    async fn permit(&self) -> Result<Permit, OpenError> {
        let (cluster, total) = (self.route.placement.cluster, self.route.placement.connection_budget);
        if let Some(permit) = self.budgets.try_permit(cluster, total) {
            return Ok(permit);
        }
        // Connections become idle while we wait, so room is looked for again and again; our place in the queue stays.
        let mut waiting = std::pin::pin!(self.budgets.permit(cluster, total));
        let mut look = tokio::time::interval(LOOK_FOR_ROOM);
        loop {
            tokio::select! {
                biased;
                permit = &mut waiting => return permit.ok_or(OpenError::Busy),
                _ = look.tick() => (self.make_room)(),
            }
        }
    }

    /// User, database, path, tenant and epoch, in the connection's first round trip.
    async fn prove(&self, client: &ClientWrapper) -> Result<(), OpenError> {
        // Without casts: in a new session each needs look-ups in the catalog.
        let sql = "select current_user, session_user, current_catalog, current_setting('search_path'), tenant_id, epoch from identity";
        let row = client.query_typed_one(sql, &[]).await?;
        let text = |i: usize| row.try_get::<_, String>(i).unwrap_or_default();
        let wrong = if text(0) != self.route.placement.login || text(1) != self.route.placement.login {
            "another user"
        } else if text(2) != self.route.placement.database {
            "another database"
        } else if text(3) != self.route.placement.schema {
            "another search_path"
        } else if row.try_get::<_, i32>(4).ok().and_then(|id| TenantId::try_from(id).ok())
            != Some(self.route.placement.tenant)
        {
            "another tenant's schema"
        } else if row.try_get::<_, i32>(5).ok() != Some(self.route.placement.epoch) {
            "data of another epoch"
        } else {
            return Ok(());
        };
        tracing::error!(tenant.id = %self.route.placement.tenant, wrong, "a connection failed its proof of identity and was closed");
        Err(OpenError::WrongIdentity(wrong))
    }
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = OpenError;

    async fn create(&self) -> Result<Connection, OpenError> {
        // Boxed, so that taking an idle connection does not carry along what opening one needs.
        Box::pin(async {
            let permit = self.permit().await?;
            let client = self.inner.create().await?;
            self.prove(&client).await?;
            Ok(Connection { client, suspect: AtomicBool::new(false), _permit: permit })
        })
        .await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<OpenError> {
        if connection.client.is_closed() || connection.suspect.load(Ordering::Relaxed) {
            Err(RecycleError::message("closed"))
        } else {
            Ok(())
        }
    }

    fn detach(&self, connection: &mut Connection) {
        self.inner.detach(&mut connection.client);
    }
}
