//! The files with the master keys, and which key wraps what.
//!
//! A key is added last, so that nothing is wrapped with it while somebody lacks it; it moves to the front, where new data keys find
//! it, once every running server has shown that it has it; the old one is removed when it wraps nothing any more.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::Path;

use serde_json::json;
use strowger::control::backups;
use strowger::control::jobs::{Kind, Subject};
use strowger::control::keys::{self, Ring};
use strowger::vault::MasterRing;
use zeroize::Zeroizing;

use crate::Provisioner;
use crate::error::{Error, Result};
use crate::reconcile::hold;
use crate::steps;

/// One master key, and what it does.
#[derive(Debug, serde::Serialize)]
pub struct MasterKey {
    /// `server` or `admin`.
    pub ring: Ring,
    /// Its id.
    pub key: String,
    /// Whether it is in the ring file here.
    pub on_ring: bool,
    /// Whether new data keys are wrapped with it here.
    pub wraps_new: bool,
    /// How many data keys it wraps.
    pub data_keys: i64,
}

/// All master keys of a ring, the one that wraps new data keys first; also one that is missing here and still wraps something.
pub async fn list(with: &Provisioner, ring: Ring) -> Result<Vec<MasterKey>> {
    let mut wraps = keys::masters(&with.control, ring).await?;
    let mut all = Vec::new();
    for (place, key) in with.ring(ring).ids().into_iter().enumerate() {
        let found = wraps.iter().position(|(id, _)| *id == key).map(|at| wraps.swap_remove(at).1);
        all.push(MasterKey { ring, key, on_ring: true, wraps_new: place == 0, data_keys: found.unwrap_or(0) });
    }
    all.extend(wraps.into_iter().map(|(key, data_keys)| MasterKey {
        ring,
        key,
        on_ring: false,
        wraps_new: false,
        data_keys,
    }));
    Ok(all)
}

/// Adds a new random key to the ring file. Nothing is wrapped with it yet.
pub async fn add(with: &Provisioner, ring: Ring, key: &str) -> Result<()> {
    let _held = hold(with, Subject::Ring(ring)).await?;
    let file = RingFile::of(with, ring)?;
    let mut lines = file.lines()?;
    if lines.iter().any(|line| is(line, key)) {
        return Err(Error::Conflict(format!("there is a key {key} on the {} ring already", ring.as_str())));
    }
    lines.push(Zeroizing::new(MasterRing::generate(key).trim_end().to_owned()));
    file.write(&lines)
}

/// Wraps everything with a key that is on the ring, once everybody who needs it has shown that they have it.
pub async fn rotate(with: &Provisioner, ring: Ring, to: &str) -> Result<()> {
    let held = hold(with, Subject::Ring(ring)).await?;
    steps::master_known(with, ring, to).await?;
    let file = RingFile::of(with, ring)?;
    let mut lines = file.lines()?;
    let first = lines.iter().position(|line| id(line).is_some());
    let place = lines.iter().position(|line| is(line, to));
    if let (Some(first), Some(place)) = (first, place.filter(|place| Some(*place) != first)) {
        let line = lines.remove(place);
        lines.insert(first, line);
        file.write(&lines)?;
    }
    held.run(Kind::Rewrap, &json!({ "to": to })).await
}

/// Removes a key that wraps nothing from the ring file.
pub async fn remove(with: &Provisioner, ring: Ring, key: &str) -> Result<()> {
    let _held = hold(with, Subject::Ring(ring)).await?;
    let all = list(with, ring).await?;
    let name = ring.as_str();
    match all.iter().find(|known| known.key == key && known.on_ring) {
        None => return Err(Error::Conflict(format!("there is no key {key} on the {name} ring"))),
        Some(known) if known.wraps_new || known.data_keys > 0 => {
            return Err(Error::Conflict(format!(
                "key {key} of the {name} ring wraps {} data keys{}: `strowgerctl rotate master --ring {name} --to` another one first",
                known.data_keys,
                if known.wraps_new { ", and every new one" } else { "" }
            )));
        }
        Some(_) => {}
    }
    let backups = if ring == Ring::Server { backups::wrapped_by(&with.control, key).await? } else { 0 };
    if backups > 0 {
        return Err(Error::Conflict(format!(
            "key {key} opens {backups} backups, which hold their data keys as they were wrapped then: they cannot be read without it; \
             `strowgerctl backup list`, and delete those first"
        )));
    }
    let file = RingFile::of(with, ring)?;
    let mut lines = file.lines()?;
    lines.retain(|line| !is(line, key));
    file.write(&lines)
}

/// The id that a line of a ring file gives a key; `None` for comments and empty lines.
fn id(line: &str) -> Option<&str> {
    line.trim().split_once(':').map(|(id, _)| id).filter(|id| !id.starts_with('#'))
}

fn is(line: &str, key: &str) -> bool {
    id(line) == Some(key)
}

struct RingFile<'p>(&'p Path);

impl<'p> RingFile<'p> {
    fn of(with: &'p Provisioner, ring: Ring) -> Result<Self> {
        let missing = || Error::Conflict(format!("the {} ring does not come from a file", ring.as_str()));
        with.ring(ring).source().map(Self).ok_or_else(missing)
    }

    fn lines(&self) -> Result<Vec<Zeroizing<String>>> {
        let text = fs::read_to_string(self.0).map(Zeroizing::new);
        let text = text.map_err(Error::io(format!("read {}", self.0.display())))?;
        Ok(text.split(['\n', ',']).map(str::to_owned).map(Zeroizing::new).filter(|line| !line.is_empty()).collect())
    }

    /// All of it or none of it, for the same eyes as before.
    fn write(&self, lines: &[Zeroizing<String>]) -> Result<()> {
        // Room for all of it at once: growing would leave pieces of keys behind in memory.
        let mut text = Zeroizing::new(String::with_capacity(lines.iter().map(|line| line.len() + 1).sum()));
        for line in lines {
            text.extend([line.as_str(), "\n"]);
        }
        MasterRing::parse(&text).map_err(|error| Error::Conflict(format!("the ring would be unusable: {error}")))?;
        let aside = self.0.with_extension("new");
        let write = || {
            let before = fs::metadata(self.0)?;
            let _ = fs::remove_file(&aside);
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(text.as_bytes())?;
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                chown(&aside, Some(before.uid()), Some(before.gid()))?;
            }
            file.set_permissions(before.permissions())?;
            file.sync_all()?;
            fs::rename(&aside, self.0)
        };
        write().map_err(Error::io(format!("write {}", self.0.display())))
    }
}
