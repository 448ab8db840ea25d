//! What holds for every update, whatever the three sides say.

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::playbook::{Hook, VariableKind};

const PHRASES: [&str; 5] = ["one", "two", "three", "four", "five"];

fn scenario() -> impl Strategy<Value = Scenario> {
    let phrases = subsequence(&PHRASES[..], 1..=3);
    (
        select(&["A", "B", "C"][..]),
        phrases,
        select(&["x", "y", "z"][..]),
        option::of(Just("Why?")),
        0..2i32,
        any::<bool>(),
    )
        .prop_map(|(name, phrases, reply, follow_up, priority, enabled)| Scenario {
            key: String::new(),
            name: name.to_owned(),
            category: "c".to_owned(),
            phrases: phrases.into_iter().map(str::to_owned).collect(),
            replies: vec![reply.to_owned()],
            follow_up: follow_up.map(str::to_owned),
            behavior: None,
            hook: Hook::None,
            priority,
            enabled,
        })
}

fn variable() -> impl Strategy<Value = Variable> {
    (any::<bool>(), any::<bool>(), option::of(Just("7"))).prop_map(|(number, required, default)| Variable {
        kind: if number { VariableKind::Number } else { VariableKind::Text },
        required,
        default: default.map(str::to_owned),
        ..Variable::default()
    })
}

fn names(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words).prop_map(str::to_owned)
}

fn content() -> impl Strategy<Value = Content> {
    let scenarios = btree_map(names(&["a", "b", "c"]), scenario(), 0..=3);
    let fillers = subsequence(&["um", "uh", "er"][..], 0..=3);
    let urgency = btree_map(names(&["fire", "leak"]), select(&[0.1, 0.5, 0.9][..]), 0..=2);
    let variables = btree_map(names(&["v", "w"]), variable(), 0..=2);
    (scenarios, fillers, urgency, variables).prop_map(|(scenarios, fillers, urgency, variables)| Content {
        scenarios: scenarios.into_iter().map(|(key, scenario)| Scenario { key, ..scenario }).collect(),
        fillers: fillers.into_iter().map(str::to_owned).collect(),
        urgency: urgency.into_iter().map(|(word, weight)| Urgency { word, weight }).collect(),
        variables: variables.into_iter().map(|(name, variable)| Variable { name, ..variable }).collect(),
    })
}

/// `other`, but as `base` has it wherever `same` says so: two sides that were one differ here and there.
fn partly(base: &Content, other: &Content, same: &[bool]) -> Content {
    fn pick<T: Clone>(base: &[T], other: &[T], same: &[bool], name: impl Fn(&T) -> &String) -> Vec<T> {
        let (base, other) = (by(base, &name), by(other, &name));
        let keys: BTreeSet<_> = base.keys().chain(other.keys()).collect();
        let side = |(n, key)| if same[n % same.len()] { base.get(key) } else { other.get(key) };
        keys.into_iter().enumerate().filter_map(side).map(|one| (*one).clone()).collect()
    }
    Content {
        scenarios: pick(&base.scenarios, &other.scenarios, same, |s| &s.key),
        fillers: pick(&base.fillers, &other.fillers, same, |word| word),
        urgency: pick(&base.urgency, &other.urgency, same, |u| &u.word),
        variables: pick(&base.variables, &other.variables, same, |v| &v.name),
    }
}

/// What a tenant has that cloned `old` and made `edited` of it.
fn state(old: &Content, edited: &Content, values: &BTreeMap<String, String>) -> State {
    let was = by(&old.scenarios, |s| &s.key);
    let mine = |scenario: &Scenario| {
        let inherited = was.get(&scenario.key);
        let edited = inherited.is_some_and(|was| *was != scenario);
        (scenario.key.clone(), Mine { scenario: scenario.clone(), inherited: inherited.is_some(), edited })
    };
    let mut variables: BTreeMap<String, Slot> = values
        .iter()
        .map(|(name, value)| (name.clone(), Slot { definition: None, value: Some(value.clone()) }))
        .collect();
    for variable in &old.variables {
        variables.entry(variable.name.clone()).or_default().definition = Some(variable.clone());
    }
    State {
        scenarios: edited.scenarios.iter().map(mine).collect(),
        fillers: edited.fillers.iter().cloned().collect(),
        urgency: edited.urgency.iter().map(|urgency| (urgency.word.clone(), urgency.weight)).collect(),
        variables,
    }
}

prop_compose! {
    fn sides()(
        old in content(), new in content(), edited in content(),
        follows in proptest::collection::vec(any::<bool>(), 5), untouched in proptest::collection::vec(any::<bool>(), 5),
        values in btree_map(names(&["v", "w"]), select(&["9", "nine"][..]).prop_map(str::to_owned), 0..=2),
    ) -> (Content, Content, State) {
        let (new, edited) = (partly(&old, &new, &follows), partly(&old, &edited, &untouched));
        let mine = state(&old, &edited, &values);
        (old, new, mine)
    }
}

/// A choice for every conflict, by chance.
fn chosen(conflicts: &[Conflict], by_chance: &[bool]) -> Choices {
    let choice = |n: usize| if by_chance[n % by_chance.len()] { Choice::Theirs } else { Choice::Mine };
    conflicts.iter().enumerate().map(|(n, conflict)| (conflict.place.clone(), choice(n))).collect()
}

fn lines(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_same_version_again_changes_nothing((old, _, mine) in sides()) {
        let merged = merge(&old, &old, &mine, &Choices::new());
        prop_assert_eq!(&merged.state, &mine);
        prop_assert!(merged.changes.is_empty() && merged.conflicts.is_empty(), "{:?}", merged);
    }

    #[test]
    fn what_was_taken_is_taken((old, new, mine) in sides(), by_chance in proptest::collection::vec(any::<bool>(), 4)) {
        let choices = chosen(&merge(&old, &new, &mine, &Choices::new()).conflicts, &by_chance);
        let taken = merge(&old, &new, &mine, &choices);
        prop_assert!(taken.conflicts.is_empty(), "{:?}", taken.conflicts);
        let again = merge(&new, &new, &taken.state, &Choices::new());
        prop_assert_eq!(again.state, taken.state);
        prop_assert!(again.changes.is_empty() && again.conflicts.is_empty());
    }

    #[test]
    fn an_untouched_clone_becomes_the_new_version((old, new, _) in sides()) {
        let merged = merge(&old, &new, &state(&old, &old, &BTreeMap::new()), &Choices::new());
        prop_assert!(merged.conflicts.is_empty() && merged.kept.is_empty(), "{:?}", merged);
        prop_assert_eq!(merged.state, state(&new, &new, &BTreeMap::new()));
    }

    #[test]
    fn no_edit_is_lost_unless_it_is_listed((old, new, mine) in sides()) {
        let merged = merge(&old, &new, &mine, &Choices::new());
        let listed = |place: &str| merged.conflicts.iter().any(|conflict| place.starts_with(&conflict.place));
        let was = by(&old.scenarios, |s| &s.key);
        for key in was.keys().filter(|key| !mine.scenarios.contains_key(*key)) {
            prop_assert!(!merged.state.scenarios.contains_key(key), "{key} was deleted");
        }
        for (key, own) in &mine.scenarios {
            let (own, after) = (json!(own.scenario), json!(merged.state.scenarios.get(key).map(|one| &one.scenario)));
            let was = json!(was.get(key));
            for name in ["name", "replies", "followUp", "priority", "enabled"] {
                let kept = after[name] == own[name] || was[name] == own[name] || listed(&format!("/scenarios/{key}/{name}"));
                prop_assert!(kept, "{key}/{name}: {:?}", merged);
            }
            let (before, own, after) = (lines(&was["phrases"]), lines(&own["phrases"]), lines(&after["phrases"]));
            let added = own.iter().filter(|phrase| !before.contains(phrase)).all(|phrase| after.contains(phrase));
            let removed = before.iter().filter(|phrase| !own.contains(phrase)).all(|phrase| !after.contains(phrase));
            prop_assert!((added && removed) || listed(&format!("/scenarios/{key}/phrases")), "{key}: {:?}", merged);
        }
        for (name, slot) in mine.variables.iter().filter(|(_, slot)| slot.value.is_some()) {
            let after = merged.state.variables.get(name).and_then(|slot| slot.value.as_ref());
            prop_assert_eq!(after, slot.value.as_ref(), "{}", name);
        }
    }

    #[test]
    fn a_conflict_needs_two((old, new, mine) in sides()) {
        for conflict in merge(&old, &new, &mine, &Choices::new()).conflicts {
            let Conflict { old, new, yours, .. } = conflict;
            prop_assert!(old != new && old != yours && new != yours);
        }
    }

    #[test]
    fn a_choice_is_heard((old, new, mine) in sides()) {
        for conflict in merge(&old, &new, &mine, &Choices::new()).conflicts {
            let theirs = Choices::from([(conflict.place.clone(), Choice::Theirs)]);
            let merged = merge(&old, &new, &mine, &theirs);
            prop_assert!(merged.changes.iter().any(|change| change.place == conflict.place && change.to == conflict.new));
        }
    }
}

#[test]
fn a_first_clone_adopts_what_was_filled_in_before() {
    let new = Content {
        variables: vec![Variable { name: "v".into(), required: true, ..Variable::default() }],
        ..Content::default()
    };
    let slot = Slot { definition: None, value: Some("nine".into()) };
    let mine = State { variables: BTreeMap::from([("v".into(), slot)]), ..State::default() };
    let merged = merge(&Content::default(), &new, &mine, &Choices::new());
    let slot = &merged.state.variables["v"];
    assert_eq!((slot.definition.as_ref(), slot.value.as_deref()), (Some(&new.variables[0]), Some("nine")));
    assert_eq!((merged.changes.len(), merged.conflicts.len()), (1, 0));
}
