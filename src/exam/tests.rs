use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::score::{Graded, score};
use super::*;
use crate::curriculum::Curriculum;

fn track(id: &str) -> &'static Track {
    Curriculum::builtin().track(id).unwrap()
}

/// So many scenarios for each topic of a track, of 3 to 11 minutes.
fn candidates(track: &Track, each: usize) -> Vec<Candidate> {
    let topics = track.topics().flat_map(|(domain, topic)| {
        (0..each).map(move |number| (domain.id.to_string(), topic.id.to_string(), number))
    });
    topics
        .enumerate()
        .map(|(place, (domain, topic, number))| Candidate {
            scenario: format!("{topic}-{number}"),
            topic,
            domain,
            minutes: 3 + (place as u32 * 5) % 9,
        })
        .collect()
}

fn by_domain(tasks: &[DrawnTask]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for task in tasks {
        *count.entry(task.candidate.domain.clone()).or_default() += 1;
    }
    count
}

#[test]
fn a_thousand_draws_hold_weights_and_minutes_and_repeat_nothing() {
    for id in ["v1.34", "v1.19"] {
        let track = track(id);
        let candidates = candidates(track, 3);
        let mut last: VecDeque<BTreeSet<String>> = VecDeque::new();
        let mut drawn_ever = BTreeSet::new();
        for variant in 0..1000 {
            let recent: BTreeSet<String> = last.iter().flatten().cloned().collect();
            let request = Draw {
                track,
                candidates: &candidates,
                tasks: Some(17),
                slots: &[],
                minutes: 120,
                recent: &recent,
                variant,
            };
            let tasks = draw(&request).unwrap();
            assert_eq!(tasks, draw(&request).unwrap(), "the same number gives the same exam");
            let ids: BTreeSet<String> = tasks.iter().map(|task| task.candidate.scenario.clone()).collect();
            assert_eq!(ids.len(), 17, "no task is there twice");
            assert!(tasks.iter().map(|task| task.candidate.minutes).sum::<u32>() <= 120);
            assert_eq!(tasks.iter().map(|task| task.weight).sum::<u32>(), 100);
            let counts = by_domain(&tasks);
            for domain in &track.domains {
                let due = f64::from(domain.weight) * 17.0 / 100.0;
                let got = counts[domain.id.as_str()] as f64;
                assert!((got - due).abs() < 1.0, "{id} {variant}: {} has {got} of {due}", domain.id);
                let weights = tasks.iter().filter(|task| task.candidate.domain == domain.id.as_str());
                let weight: u32 = weights.map(|task| task.weight).sum();
                assert!(weight.abs_diff(domain.weight) <= 2, "{} weighs {weight}", domain.id);
            }
            // Whatever was in the last three exams comes again only where its domain has nothing else.
            for task in tasks.iter().filter(|task| task.repeated) {
                let of = |candidate: &&Candidate| candidate.domain == task.candidate.domain;
                let fresh = candidates.iter().filter(of).filter(|other| !recent.contains(&other.scenario));
                assert!(fresh.clone().count() < counts[&task.candidate.domain], "{:?}", task.candidate);
                assert!(fresh.into_iter().all(|other| ids.contains(&other.scenario)));
            }
            drawn_ever.extend(ids.iter().cloned());
            last.push_back(ids);
            if last.len() > FRESH_EXAMS {
                last.pop_front();
            }
        }
        assert_eq!(drawn_ever.len(), candidates.len(), "everything is drawn some day");
    }
}

#[test]
fn a_domain_that_has_too_few_leaves_its_seats_to_others_and_keeps_one() {
    assert_eq!(seats(&[15, 15, 10, 20, 20, 20], 17, &[9, 9, 9, 9, 9, 9]), [3, 3, 2, 3, 3, 3]);
    assert_eq!(seats(&[15, 15, 10, 20, 20, 20], 17, &[9, 9, 9, 9, 1, 9]).iter().sum::<usize>(), 17);
    assert_eq!(seats(&[90, 5, 5], 4, &[9, 9, 9]), [2, 1, 1]);
    assert_eq!(seats(&[90, 5, 5], 4, &[9, 0, 9]), [3, 0, 1]);
    assert_eq!(seats(&[50, 50], 1, &[9, 9]), [1, 0]);
}

#[test]
fn what_does_not_fit_the_clock_is_said_and_fewer_are_taken_where_no_number_was_asked_for() {
    let track = track("v1.34");
    let mut candidates = candidates(track, 2);
    candidates.iter_mut().for_each(|candidate| candidate.minutes = 10);
    let none = BTreeSet::new();
    let request = Draw {
        track,
        candidates: &candidates,
        tasks: Some(17),
        slots: &[],
        minutes: 120,
        recent: &none,
        variant: 1,
    };
    assert_eq!(draw(&request), Err(DrawError::TooLong { tasks: 17, least: 170, minutes: 120 }));
    assert_eq!(draw(&Draw { tasks: None, ..request.clone() }).unwrap().len(), 12);
    let few = &candidates[..3];
    assert_eq!(
        draw(&Draw { candidates: few, ..request.clone() }),
        Err(DrawError::TooFew { wanted: 17, there: 3 })
    );
    assert_eq!(draw(&Draw { candidates: few, tasks: None, ..request }).unwrap().len(), 3);
}

#[test]
fn the_clock_is_met_by_shorter_tasks_before_tasks_are_repeated() {
    let track = track("v1.34");
    let mut candidates = candidates(track, 4);
    for (place, candidate) in candidates.iter_mut().enumerate() {
        candidate.minutes = if place % 4 == 0 { 4 } else { 14 };
    }
    let none = BTreeSet::new();
    let request = Draw {
        track,
        candidates: &candidates,
        tasks: Some(12),
        slots: &[],
        minutes: 50,
        recent: &none,
        variant: 3,
    };
    let tasks = draw(&request).unwrap();
    assert!(tasks.iter().map(|task| task.candidate.minutes).sum::<u32>() <= 50);
    assert!(tasks.iter().all(|task| !task.repeated));
}

#[test]
fn as_many_as_usual_are_drawn_where_the_clock_allows_it_and_seen_ones_only_where_there_would_be_too_few() {
    let track = track("v1.34");
    let mut candidates = candidates(track, 4);
    candidates.iter_mut().for_each(|candidate| candidate.minutes = 7);
    let none = BTreeSet::new();
    let usual = Draw {
        track,
        candidates: &candidates,
        tasks: None,
        slots: &[],
        minutes: 120,
        recent: &none,
        variant: 3,
    };
    assert_eq!(draw(&usual).unwrap().len(), 17);
    // Longer ones fit fewer times: 15 of 8 minutes, and never one of the last exams while that is so.
    let mut long = candidates.clone();
    long.iter_mut()
        .enumerate()
        .for_each(|(place, candidate)| candidate.minutes = if place % 4 == 0 { 3 } else { 8 });
    let quick: BTreeSet<String> = long
        .iter()
        .filter(|candidate| candidate.minutes == 3)
        .map(|candidate| candidate.scenario.clone())
        .collect();
    let tasks = draw(&Draw { candidates: &long, recent: &quick, ..usual.clone() }).unwrap();
    assert_eq!((tasks.len(), tasks.iter().filter(|task| task.repeated).count()), (15, 0));
    // Where only few would fit, the quick ones come again.
    for candidate in long.iter_mut().filter(|candidate| candidate.minutes == 8) {
        candidate.minutes = 14;
    }
    let tasks = draw(&Draw { candidates: &long, recent: &quick, ..usual }).unwrap();
    assert_eq!(tasks.len(), 17);
    assert!(tasks.iter().any(|task| task.repeated));
    assert!(tasks.iter().map(|task| task.candidate.minutes).sum::<u32>() <= 120);
}

#[test]
fn places_are_filled_in_their_order_with_their_weights() {
    let track = track("v1.34");
    let candidates = candidates(track, 3);
    let fixed = candidates[40].scenario.clone();
    let drawn = |domain: Option<&str>, weight| Slot { pick: Pick::Drawn(domain.map(str::to_owned)), weight };
    let slots = [
        drawn(Some("system-hardening"), Some(30)),
        Slot { pick: Pick::Fixed(fixed.clone()), weight: None },
        drawn(None, None),
        drawn(Some("system-hardening"), None),
        drawn(None, Some(10)),
    ];
    let none = BTreeSet::new();
    for variant in 0..50 {
        let request = Draw {
            track,
            candidates: &candidates,
            tasks: None,
            slots: &slots,
            minutes: 60,
            recent: &none,
            variant,
        };
        let tasks = draw(&request).unwrap();
        assert_eq!(tasks, draw(&request).unwrap());
        let ids: BTreeSet<&str> = tasks.iter().map(|task| task.candidate.scenario.as_str()).collect();
        assert_eq!(ids.len(), 5, "no task is there twice");
        assert_eq!(tasks[1].candidate.scenario, fixed);
        for place in [0, 3] {
            assert_eq!(tasks[place].candidate.domain, "system-hardening");
        }
        assert_eq!((tasks[0].weight, tasks[4].weight), (30, 10));
        assert_eq!(tasks.iter().map(|task| task.weight).sum::<u32>(), 100);
        assert!(tasks.iter().map(|task| task.candidate.minutes).sum::<u32>() <= 60);
    }
    let request = |slots| Draw {
        track,
        candidates: &candidates,
        tasks: None,
        slots,
        minutes: 60,
        recent: &none,
        variant: 1,
    };
    let gone = [Slot { pick: Pick::Fixed("gone".to_owned()), weight: None }];
    assert_eq!(draw(&request(&gone)), Err(DrawError::NotThere { scenario: "gone".to_owned() }));
    let many = vec![drawn(Some("system-hardening"), None); 13];
    assert_eq!(draw(&request(&many)), Err(DrawError::TooFew { wanted: 13, there: 12 }));
}

fn graded(domain: &str, weight: u32, awarded: u32, max: u32) -> Graded {
    Graded { domain: domain.to_owned(), weight, awarded, max, undecided: 0 }
}

fn domains() -> Vec<(String, String, u32)> {
    vec![("a".to_owned(), "A".to_owned(), 60), ("b".to_owned(), "B".to_owned(), 40)]
}

#[test]
fn the_score_is_partial_credit_by_weight() {
    let result = score(&[graded("a", 60, 5, 10), graded("b", 40, 10, 10)], &domains(), 67);
    assert_eq!((result.score, result.passed, result.undecided), (70.0, true, 0.0));
    assert_eq!(result.domains.iter().map(|domain| domain.score).collect::<Vec<_>>(), [50.0, 100.0]);
    let result = score(&[graded("a", 60, 4, 10), graded("b", 40, 10, 10)], &domains(), 67);
    assert_eq!((result.score, result.passed), (64.0, false));
    assert_eq!(score(&[graded("a", 100, 2, 3)], &domains(), 67).score, 66.67);
    assert!(!score(&[], &domains(), 67).passed);
    assert!(!score(&[graded("a", 100, 0, 0)], &domains(), 0).passed, "nothing that counts is not passed");
}

#[test]
fn what_was_skipped_does_not_count_and_what_is_undecided_is_told() {
    let result = score(&[graded("a", 60, 0, 0), graded("b", 40, 5, 10)], &domains(), 67);
    assert_eq!((result.score, result.domains[0].tasks, result.domains[0].share), (50.0, 1, 60));
    let undecided = Graded { undecided: 4, ..graded("a", 50, 6, 10) };
    let result = score(&[undecided, graded("b", 50, 5, 10)], &domains(), 67);
    assert_eq!((result.score, result.undecided), (55.0, 20.0));
}
