//! Which cluster a new tenant goes to: a pure choice among what the control database knows of them.
//!
//! First what is asked for: the kind, a name, a region label, and that the cluster takes new tenants at all. Of those that are
//! left, the one with the most connections for each tenant, the new one counted in; of equals the one with the fewest
//! relations, then the oldest. A cluster whose catalogs are crowded comes after all that are not.
//!
//! Creations choose one after the other (`clusters::candidates`): each sees the placement that the one before it reserved, so that many at
//! once spread as they would have one by one.

use std::cmp::Reverse;

use strowger::control::clusters::{Admission, Cluster, ClusterId, Isolation, Occupancy};
use strowger::schema;

/// From here on a cluster's catalogs are crowded: about a gigabyte, which every vacuum and every dump goes through.
const CROWDED: u64 = 500_000;

/// A cluster as the choice sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its key.
    pub id: ClusterId,
    /// The operator's name for it.
    pub name: String,
    /// `shared` or `dedicated`.
    pub kind: String,
    /// Its region label.
    pub region: String,
    /// Whether it takes new tenants.
    pub admission: Admission,
    /// What all servers together may hold open there.
    pub connection_budget: u32,
    /// What it holds.
    pub occupancy: Occupancy,
}

impl Candidate {
    pub(crate) fn of((cluster, occupancy): (Cluster, Occupancy)) -> Self {
        Self {
            id: cluster.id,
            name: cluster.name,
            kind: cluster.kind,
            region: cluster.region,
            admission: cluster.admission,
            connection_budget: cluster.connection_budget,
            occupancy,
        }
    }

    /// Tables, indexes and TOAST of the tenants there: an estimate, since all tenants have the same tables.
    fn relations(&self) -> u64 {
        u64::from(self.occupancy.kept) * schema::RELATIONS
    }

    /// Whether its catalogs are so full that it comes last.
    pub(crate) fn is_crowded(&self) -> bool {
        self.relations() >= CROWDED
    }

    /// Connections for each tenant that is there, in millionths; `None` where nobody is.
    fn held_share(&self) -> Option<u64> {
        (u64::from(self.connection_budget) * 1_000_000).checked_div(u64::from(self.occupancy.served))
    }

    /// Connections for each tenant if one more came, in millionths.
    fn share(&self) -> u64 {
        u64::from(self.connection_budget) * 1_000_000 / (u64::from(self.occupancy.served) + 1)
    }
}

/// What is asked of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// How the tenant is to be kept apart.
    pub isolation: Isolation,
    /// A cluster by name.
    pub cluster: Option<&'a str>,
    /// A region label.
    pub region: Option<&'a str>,
}

/// The cluster for a new tenant, or why none fits.
pub fn choose<'c>(all: &'c [Candidate], wanted: &Wanted<'_>) -> Result<&'c Candidate, String> {
    let fits = |candidate: &&Candidate| why_not(candidate, wanted).is_none();
    let rank = |candidate: &&Candidate| {
        (candidate.is_crowded(), Reverse(candidate.share()), candidate.relations(), candidate.id)
    };
    all.iter().filter(fits).min_by_key(rank).ok_or_else(|| refusal(all, wanted))
}

/// Moves, one after the other, that even the connections for each tenant out: places in `all`, from and to.
///
/// Each takes a tenant off the cluster that has the fewest for each, to the one of its kind and region where it would have the most; the
/// last one is the last that leaves the tenant better off.
pub fn even_out(all: &[Candidate]) -> Vec<(usize, usize)> {
    let mut now: Vec<Candidate> = all.to_vec();
    let mut moves = Vec::new();
    while let Some((from, to)) = next_move(&now) {
        for (at, by) in [(from, -1), (to, 1)] {
            if let Some(candidate) = now.get_mut(at) {
                let held = &mut candidate.occupancy;
                held.served = held.served.saturating_add_signed(by);
                held.kept = held.kept.saturating_add_signed(by);
            }
        }
        moves.push((from, to));
    }
    moves
}

fn next_move(now: &[Candidate]) -> Option<(usize, usize)> {
    let alike = |a: &Candidate, b: &Candidate| a.id != b.id && a.kind == b.kind && a.region == b.region;
    let better = |(at, from): (usize, &Candidate)| {
        let takes = |to: &Candidate| alike(from, to) && to.admission == Admission::Open && !to.is_crowded();
        let (best, to) = now.iter().enumerate().filter(|(_, to)| takes(to)).max_by_key(|(_, to)| to.share())?;
        (to.share() > from.held_share()?).then_some((at, best))
    };
    let mut worst_first: Vec<(usize, &Candidate)> = now.iter().enumerate().collect();
    worst_first.sort_by_key(|(_, candidate)| candidate.held_share());
    worst_first.into_iter().find_map(better)
}

/// What speaks against a cluster, if anything does.
pub(crate) fn why_not(candidate: &Candidate, wanted: &Wanted<'_>) -> Option<String> {
    let kind = wanted.isolation.cluster_kind();
    if wanted.cluster.is_some_and(|name| name != candidate.name) {
        return Some("has another name".to_owned());
    }
    if candidate.kind != kind {
        return Some(format!("is {}, not {kind}", candidate.kind));
    }
    if wanted.region.is_some_and(|region| region != candidate.region) {
        return Some(format!("is in region \"{}\"", candidate.region));
    }
    match candidate.admission {
        Admission::Open => None,
        closed => Some(format!("is {} (`strowgerctl cluster cordon {} --undo`)", closed.as_str(), candidate.name)),
    }
}

fn refusal(all: &[Candidate], wanted: &Wanted<'_>) -> String {
    let named = wanted.cluster.map_or_else(String::new, |name| format!(" named {name}"));
    let region = wanted.region.map_or_else(String::new, |region| format!(" in region \"{region}\""));
    let mut text =
        format!("there is no {} cluster{named}{region} that takes new tenants", wanted.isolation.cluster_kind());
    for candidate in all.iter().filter(|candidate| wanted.cluster.is_none_or(|name| name == candidate.name)) {
        let why = why_not(candidate, wanted).unwrap_or_default();
        text.push_str(&format!("; {} {why}", candidate.name));
    }
    text + ": see `strowgerctl cluster list`, add one with `cluster add`"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(id: i32, budget: u32, served: u32) -> Candidate {
        Candidate {
            id: ClusterId::from_stored(id),
            name: format!("c{id}"),
            kind: "shared".to_owned(),
            region: "eu".to_owned(),
            admission: Admission::Open,
            connection_budget: budget,
            occupancy: Occupancy { served, kept: served },
        }
    }

    const ANY: Wanted<'_> = Wanted { isolation: Isolation::Schema, cluster: None, region: None };

    fn chosen(all: &[Candidate], wanted: &Wanted<'_>) -> String {
        choose(all, wanted).map_or_else(|why| why, |candidate| candidate.name.clone())
    }

    #[test]
    fn the_most_connections_for_each_tenant_win() {
        assert_eq!(chosen(&[candidate(1, 100, 10), candidate(2, 50, 2), candidate(3, 400, 50)], &ANY), "c2");
        assert_eq!(chosen(&[candidate(2, 50, 3), candidate(1, 50, 3)], &ANY), "c1", "of equals the oldest");
        let mut full_of_deleted = candidate(1, 50, 3);
        full_of_deleted.occupancy.kept = 90;
        assert_eq!(
            chosen(&[full_of_deleted.clone(), candidate(2, 50, 3)], &ANY),
            "c2",
            "of equals the fewest relations"
        );
        full_of_deleted.occupancy.kept = 90_000;
        assert_eq!(chosen(&[full_of_deleted, candidate(2, 1, 3)], &ANY), "c2", "crowded catalogs come last");
    }

    #[test]
    fn a_refusal_says_what_speaks_against_each() {
        let mut all = [candidate(1, 9, 0), candidate(2, 9, 0), candidate(3, 9, 0)];
        all[0].admission = Admission::Cordoned;
        all[1].kind = "dedicated".to_owned();
        all[2].region = "us".to_owned();
        let why = chosen(&all, &Wanted { region: Some("eu"), ..ANY });
        for part in ["c1 is cordoned", "c2 is dedicated, not shared", "c3 is in region \"us\"", "in region \"eu\""] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert_eq!(chosen(&all, &ANY), "c3");
        let why = chosen(&all, &Wanted { cluster: Some("c1"), ..ANY });
        assert!(why.contains("named c1") && why.contains("c1 is cordoned") && !why.contains("c3"), "{why}");
        assert!(chosen(&[], &ANY).contains("`cluster add`"));
    }

    #[test]
    fn a_fleet_is_evened_out_within_a_kind_and_a_region() {
        let mut all =
            [candidate(1, 60, 6), candidate(2, 60, 0), candidate(3, 60, 0), candidate(4, 60, 0), candidate(5, 60, 0)];
        all[2].admission = Admission::Cordoned;
        all[3].region = "us".to_owned();
        all[4].kind = "dedicated".to_owned();
        assert_eq!(even_out(&all), [(0, 1); 3]);
        all[1].occupancy.kept = 90_000;
        assert_eq!(even_out(&all), [], "crowded catalogs take nobody");
        assert_eq!(even_out(&[candidate(1, 60, 3), candidate(2, 60, 2)]), [], "nobody would be better off");
    }

    proptest! {
        /// It ends, and at its end no share is below another's by more than one tenant.
        #[test]
        fn evened_out_is_even(raw in proptest::collection::vec((1..200_u32, 0..60_u32), 1..5)) {
            let mut all: Vec<Candidate> = (1..).zip(raw).map(|(id, (budget, served))| candidate(id, budget, served)).collect();
            for (from, to) in even_out(&all) {
                all[from].occupancy.served -= 1;
                all[to].occupancy.served += 1;
            }
            for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))).filter(|(a, b)| a.id != b.id) {
                prop_assert!(a.held_share().is_none_or(|held| held >= b.share()), "{a:?} {b:?}");
            }
        }

        /// Whatever there is: what is chosen fits, and nothing that fits has more connections for each tenant, unless crowded.
        #[test]
        fn nothing_better_is_passed_over(
            raw in proptest::collection::vec((1..500_u32, 0..2000_u32, 0..3_usize, 0..2_usize), 0..8)
        ) {
            let all: Vec<Candidate> = (1..).zip(raw).map(|(id, (budget, served, admission, region))| Candidate {
                admission: [Admission::Open, Admission::Cordoned, Admission::Draining][admission],
                region: ["eu", "us"][region].to_owned(),
                ..candidate(id, budget, served)
            }).collect();
            let wanted = Wanted { region: Some("eu"), ..ANY };
            let fitting: Vec<&Candidate> =
                all.iter().filter(|c| c.admission == Admission::Open && c.region == "eu").collect();
            match choose(&all, &wanted) {
                Err(_) => prop_assert!(fitting.is_empty()),
                Ok(best) => {
                    prop_assert!(fitting.iter().any(|c| c.id == best.id));
                    prop_assert!(fitting.iter().all(|c| c.share() <= best.share()));
                    let mut turned = all.clone();
                    turned.reverse();
                    prop_assert_eq!(choose(&turned, &wanted).unwrap().id, best.id, "whatever the order");
                }
            }
        }

        /// Tenants that come one after the other spread by budget: nobody's share falls below another's by more than one tenant.
        #[test]
        fn many_spread_by_budget(budgets in proptest::collection::vec(1..200_u32, 1..5), many in 0..200_usize) {
            let mut all: Vec<Candidate> = (1..).zip(budgets).map(|(id, budget)| candidate(id, budget, 0)).collect();
            for _ in 0..many {
                let id = choose(&all, &ANY).unwrap().id;
                let chosen = all.iter_mut().find(|c| c.id == id).unwrap();
                chosen.occupancy = Occupancy { served: chosen.occupancy.served + 1, kept: chosen.occupancy.kept + 1 };
            }
            for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
                let held = u64::from(a.connection_budget) * 1_000_000 / u64::from(a.occupancy.served.max(1));
                prop_assert!(a.occupancy.served == 0 || held >= b.share(), "{a:?} {b:?}");
            }
        }
    }
}
