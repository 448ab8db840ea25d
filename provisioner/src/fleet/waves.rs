//! Who is migrated when: canaries, then wave after wave. Nobody of a wave is touched before the one before it is over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use strowger::control::migrations::Planned;
use strowger::control::tenants::Tenant;
use strowger::id::TenantId;

use crate::error::{Error, Result};

/// How a run goes about it. Written down with the run, so that one that is taken up again goes by the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// These go first. If one of them fails, nobody else is touched.
    pub canaries: Vec<TenantId>,
    /// So many of the others go first too.
    pub canary_count: usize,
    /// How the rest is parted.
    pub waves: Waves,
    /// Tenants at once.
    pub parallel: usize,
    /// When so many tenants have failed, no other is begun.
    pub max_failures: usize,
    /// How long an attempt waits for a lock in a tenant's schema. Others of that tenant wait behind it.
    pub lock_timeout_ms: u32,
    /// How often a busy tenant is tried, each time after all others of its wave.
    pub attempts: u32,
    /// A folder with the whole sequence of migrations; else those of this build.
    pub migrations: Option<PathBuf>,
}

/// How those after the canaries are parted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waves {
    /// Up to these shares of them, in percent; the last is 100.
    Percent(Vec<u8>),
    /// One wave for each region of clusters, by name.
    Region,
    /// One wave for each cluster, by name.
    Cluster,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            canaries: Vec::new(),
            canary_count: 0,
            waves: Waves::Percent(vec![100]),
            parallel: 2,
            max_failures: 10,
            lock_timeout_ms: 1000,
            attempts: 5,
            migrations: None,
        }
    }
}

/// A wave before it is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wave {
    /// `canary`, `up to 10 %`, or the region or cluster.
    pub name: String,
    /// Who.
    pub tenants: Vec<TenantId>,
}

impl Waves {
    /// `10,50,100`, `region` or `cluster`.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match text {
            "region" => return Ok(Self::Region),
            "cluster" => return Ok(Self::Cluster),
            _ => {}
        }
        let shares: std::result::Result<Vec<u8>, _> = text.split(',').map(|share| share.trim().parse()).collect();
        match shares {
            Ok(shares) if shares.is_sorted_by(|a, b| a < b) && shares.last() == Some(&100) && shares[0] > 0 => {
                Ok(Self::Percent(shares))
            }
            _ => Err("growing percentages that end with 100, as in 10,50,100; or region, or cluster".to_owned()),
        }
    }
}

/// The waves for those that are behind. `region_of` says where a cluster is.
pub(super) fn plan(options: &Options, behind: &[Tenant], region_of: impl Fn(&Tenant) -> String) -> Vec<Wave> {
    let (mut canaries, mut rest): (Vec<&Tenant>, Vec<&Tenant>) =
        behind.iter().partition(|tenant| options.canaries.contains(&tenant.id));
    canaries.extend(rest.drain(..options.canary_count.min(rest.len())));
    let ids = |tenants: &[&Tenant]| tenants.iter().map(|tenant| tenant.id).collect::<Vec<_>>();
    let mut all = vec![Wave { name: "canary".to_owned(), tenants: ids(&canaries) }];
    match &options.waves {
        Waves::Percent(shares) => {
            let mut from = 0;
            for share in shares {
                let to = (rest.len() * usize::from(*share)).div_ceil(100);
                all.push(Wave { name: format!("up to {share} %"), tenants: ids(&rest[from..to]) });
                from = to;
            }
        }
        Waves::Region => all.extend(by_label(&rest, region_of)),
        Waves::Cluster => all.extend(by_label(&rest, |tenant| tenant.cluster.clone())),
    }
    all
}

fn by_label(tenants: &[&Tenant], label: impl Fn(&Tenant) -> String) -> Vec<Wave> {
    let mut parts: BTreeMap<String, Vec<TenantId>> = BTreeMap::new();
    for tenant in tenants {
        parts.entry(label(tenant)).or_default().push(tenant.id);
    }
    parts.into_iter().map(|(name, tenants)| Wave { name, tenants }).collect()
}

/// As written down with a run: wave 0 are the canaries.
pub(super) fn planned(waves: &[Wave], behind: &[Tenant]) -> Vec<Planned> {
    let versions: BTreeMap<TenantId, i32> = behind.iter().map(|tenant| (tenant.id, tenant.schema_version)).collect();
    let number =
        |(wave, number): (&Wave, i32)| wave.tenants.iter().map(move |tenant| (*tenant, number)).collect::<Vec<_>>();
    let all = waves.iter().zip(0..).flat_map(number);
    all.map(|(tenant, wave)| Planned { tenant, wave, from: versions.get(&tenant).copied().unwrap_or(0) }).collect()
}

/// Refuses what cannot be gone by.
pub(super) fn check(options: &Options) -> Result<()> {
    let says = |what: &str| Err(Error::Conflict(what.to_owned()));
    match options {
        Options { parallel: 0 | 65.., .. } => says("--parallel is 1 to 64"),
        Options { max_failures: 0, .. } => says("--max-failures is 1 or more"),
        Options { attempts: 0, .. } => says("--attempts is 1 or more"),
        Options { lock_timeout_ms: 0, .. } => {
            says("--lock-timeout is 1 ms or more: without one a busy tenant would block")
        }
        _ => Ok(()),
    }
}
