//! A private Postgres for something that is not trusted and not kept. It is gone when this process is, however that ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use strowger::control::clusters::{Address, Tls};
use strowger::vault::Secret;
use uuid::Uuid;

use crate::bootstrap::Superuser;
use crate::error::{Error, Result};
use crate::postgres::{Binaries, CLUSTER, Durability, SUPERUSER, Undertaker, free_port, postgres_user};

/// A running cluster, ended when this is dropped.
pub(crate) struct Throwaway {
    superuser: Superuser,
    _undertaker: Undertaker,
}

impl Throwaway {
    /// Makes and starts one in the folder for temporary files.
    pub(crate) fn start() -> Result<Self> {
        let user = postgres_user()?;
        let binaries = Binaries::find(user)?;
        let folder = std::env::temp_dir().join(format!("strowger-import-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        let mode = if user.is_some() { 0o711 } else { 0o700 };
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).map_err(Error::io("close the folder"))?;
        let undertaker = Undertaker::over(&folder)?;
        let (data, password) = (folder.join(CLUSTER), Secret::random_password());
        binaries.initdb(&data, &password, Durability::None)?;
        let port = binaries.start(&data, free_port(&data)?)?;
        let address = Address { host: "127.0.0.1".into(), port, tls: Tls::Disable };
        Ok(Self { superuser: Superuser { address, user: SUPERUSER.into(), password }, _undertaker: undertaker })
    }

    /// Its superuser, for making a login that is none.
    pub(crate) fn superuser(&self) -> &Superuser {
        &self.superuser
    }
}
