use super::*;
use crate::report::OutcomeName;

pub(crate) fn track() -> &'static Track {
    Curriculum::builtin().newest()
}

pub(crate) fn day(at: i64) -> Timestamp {
    let first: Timestamp = "2026-09-01T12:00:00Z".parse().unwrap();
    first + jiff::SignedDuration::from_hours(24 * at)
}

/// Two scenarios for each topic of the newest track.
pub(crate) fn exercises() -> Vec<Exercise> {
    let of_topic = |topic: &crate::curriculum::Topic| {
        let topic = topic.id.to_string();
        (1..=2).map(move |number| Exercise {
            scenario: format!("{topic}-{number}"),
            title: format!("The {topic} {number}"),
            topic: topic.clone(),
            minutes: 7,
            depth: 0,
        })
    };
    track().topics().flat_map(|(_, topic)| of_topic(topic)).collect()
}

/// An attempt on a day that earned so many of 7 points.
pub(crate) fn attempt(scenario: &str, at: i64, score: u32) -> Attempt {
    let topic = scenario.rsplit_once('-').map_or(scenario, |(topic, _)| topic).to_owned();
    let outcome = if score == 7 { OutcomeName::Pass } else { OutcomeName::Fail };
    Attempt {
        session: SessionId::parse(&format!("{scenario}-{at}")).unwrap(),
        scenario: scenario.to_owned(),
        domain: domain_in(&topic, track()).unwrap_or_default(),
        topic,
        variant: 1,
        provider: "sim".to_owned(),
        mode: Mode::Practice,
        submitted: day(at),
        elapsed_seconds: 400,
        late: false,
        score,
        max: 7,
        passed: score == 7,
        hints: 0,
        resets: 0,
        minutes: 7,
        checks: [("closed".to_owned(), outcome)].into(),
    }
}

/// An attempt at everything on one day.
pub(crate) fn all_of(at: i64, score: u32) -> Vec<Attempt> {
    exercises().iter().map(|exercise| attempt(&exercise.scenario, at, score)).collect()
}

pub(crate) fn progress(attempts: &[Attempt], now: i64) -> Progress {
    Progress::new(attempts, &exercises(), track(), day(now))
}

#[test]
fn a_scenario_knows_its_best_and_its_last() {
    let progress = progress(&[attempt("rbac-1", 0, 7), attempt("rbac-1", 3, 2), attempt("gone-1", 1, 5)], 3);
    let [last, gone] = progress.scenarios.as_slice() else { panic!("{:#?}", progress.scenarios) };
    assert_eq!((last.attempts, last.best.score, last.last.score, last.failures), (2, 7, 2, 1));
    assert_eq!((last.title.as_str(), last.mastery), ("The rbac 1", 28.6));
    assert_eq!((gone.title.as_str(), gone.domain.as_str()), ("gone-1", ""), "one that is there no more");
}

#[test]
fn a_domain_is_mastered_by_the_mean_of_its_scenarios() {
    let progress = progress(&[attempt("rbac-1", 0, 7)], 0);
    let domain = progress.domains.iter().find(|domain| domain.id == "cluster-hardening").unwrap();
    assert_eq!(domain.tried, 1);
    assert_eq!(domain.mastery, rounded(100.0 / domain.scenarios as f64));
    let topic = domain.topics.iter().find(|topic| topic.id == "rbac").unwrap();
    assert_eq!((topic.scenarios, topic.tried, topic.mastery), (2, 1, 50.0));
    assert_eq!(progress.domains.iter().map(|domain| domain.scenarios).sum::<usize>(), exercises().len());
    assert!(
        progress
            .domains
            .iter()
            .filter(|domain| domain.id != "cluster-hardening")
            .all(|domain| domain.tried == 0)
    );
}

#[test]
fn what_could_not_be_judged_says_nothing() {
    let mut open = attempt("rbac-1", 2, 0);
    open.checks = [("closed".to_owned(), OutcomeName::CannotJudge)].into();
    let progress = progress(&[attempt("rbac-1", 0, 7), open], 2);
    let known = &progress.scenarios[0];
    assert_eq!((known.attempts, known.failures), (2, 0));
    assert!(known.mastery > 90.0, "{known:?}");
}

#[test]
fn the_tasks_of_an_exam_are_one_attempt() {
    let sat: Vec<Attempt> = ["rbac-1", "rbac-2"]
        .iter()
        .zip([7, 0])
        .map(|(scenario, score)| Attempt {
            mode: Mode::Exam,
            session: SessionId::parse("exam-1").unwrap(),
            ..attempt(scenario, 0, score)
        })
        .collect();
    let progress = progress(&sat, 0);
    let [exam] = progress.attempts.as_slice() else { panic!("{:#?}", progress.attempts) };
    assert_eq!((exam.score, exam.passed, exam.scenario.as_deref()), (50.0, false, None));
    assert_eq!(progress.scenarios.len(), 2, "each says something about its scenario");
}

#[test]
fn the_page_shows_all_of_it_and_escapes_titles() {
    let mut exercises = exercises();
    exercises[0].title = "<b>bold</b>".to_owned();
    let attempts = [attempt(&exercises[0].scenario, 0, 2), attempt("rbac-1", 1, 7)];
    let page = html::render(&Progress::new(&attempts, &exercises, track(), day(2))).unwrap();
    for text in
        ["&lt;b&gt;bold&lt;/b&gt;", "<svg", "Cluster Hardening", "in 8 of 10 cases", "failed, the last time"]
    {
        assert!(page.contains(text), "{text} is missing in:\n{page}");
    }
    assert!(!page.contains("<b>bold") && !page.contains("<script"));
    html::render(&progress(&[], 0)).unwrap();
}
