use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::cluster::Capability;
use crate::cluster::fake::{Creates, FakeProvider};
use crate::cluster::registry::Choice;
use crate::report::OutcomeName;
use crate::session::TaskState;
use crate::sim::server::SimulatedCluster;

use interrupt::{Trigger, interrupt};

const SCENARIO: &str = indoc::indoc! {r#"
    apiVersion: cks-lab/v1
    id: example
    title: An example
    topic: rbac
    difficulty: quick
    minutes: 3
    needs: [api]
    vars:
      app: { choose: [one, two, three] }
    task: task.md
    seed:
      - file: { from: note.txt, to: note.txt, mode: "0600" }
    attack:
      describe: Reads Secrets.
      run: "true"
      before: { exit: 0 }
      after: { exit: 1 }
    checks:
      - id: closed
        points: 2
        describe: "`worker` reads no Secrets"
        why: They are not its own.
        assert:
          resource:
            apiVersion: v1
            kind: Namespace
            names: [kube-system]
            each: [{ that: "object.metadata.name != 'worker'", path: metadata.name, expected: another }]
    hints: [Look., Look again.]
    solution:
      explain: solution.md
      run: "true"
    proofs:
      right:
        - { describe: in another way, run: "true" }
      wrong:
        - { describe: nothing, run: "true", earns: [] }
        - { describe: too little, run: "true", earns: [] }
        - { describe: too much, run: "true", earns: [] }
"#};

#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Observer for Told {
    fn observe(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

struct Bench {
    dir: tempfile::TempDir,
    lab: Lab,
    provider: FakeProvider,
    clock: Arc<ManualClock>,
    told: Arc<Told>,
    trigger: Trigger,
}

fn bench(provider: FakeProvider) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let scenario = dir.path().join("scenarios/example");
    std::fs::create_dir_all(&scenario).unwrap();
    for (file, text) in [
        ("scenario.yaml", SCENARIO),
        ("task.md", "Keep `worker` of {{ app }} from reading Secrets.\n"),
        ("note.txt", "a note\n"),
        ("solution.md", "Nothing is to be done.\n"),
    ] {
        std::fs::write(scenario.join(file), text).unwrap();
    }
    let provider = provider.with(&[Capability::Api]);
    let clock = Arc::new(ManualClock::new("2026-09-01T12:00:00Z".parse().unwrap()));
    let told = Arc::new(Told::default());
    let (trigger, interrupt) = interrupt();
    let lab = Lab::new(Setup {
        state: dir.path().join("state"),
        scenarios: Some(dir.path().join("scenarios")),
        registry: Registry::of([(Arc::new(provider.clone()) as Arc<dyn Provider>, true)]),
        clock: clock.clone(),
        observer: told.clone(),
        interrupt,
    });
    Bench { dir, lab, provider, clock, told, trigger }
}

/// A bench whose cluster answers.
async fn answering() -> (Bench, SimulatedCluster) {
    let clock = Arc::new(ManualClock::new("2026-09-01T12:00:00Z".parse().unwrap()));
    let cluster = SimulatedCluster::in_memory(clock).await.unwrap();
    (bench(FakeProvider::new("fake").client(cluster.kube_client())), cluster)
}

fn request() -> StartRequest {
    StartRequest {
        scenario: "example".to_owned(),
        provider: Choice::Auto,
        variant: Some(1),
        minutes: None,
        timer: true,
        retain: false,
        context: None,
        source_kubeconfig: None,
        node_image: None,
        confirmed: false,
    }
}

impl Bench {
    /// What lies under the state folder, apart from files that any command leaves.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for folder in ["sessions", "clusters"] {
            let entries = std::fs::read_dir(self.dir.path().join("state").join(folder));
            left.extend(entries.into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        left.retain(|path| path.is_dir());
        left
    }

    fn warnings(&self) -> Vec<String> {
        let told = self.told.0.lock().unwrap();
        let warning = |event: &Event| match event {
            Event::Warning { text } => Some(text.clone()),
            _ => None,
        };
        told.iter().filter_map(warning).collect()
    }
}

#[tokio::test]
async fn a_start_gives_a_cluster_a_task_and_a_running_clock() {
    let bench = bench(FakeProvider::new("fake"));
    let started = bench.lab.start(request()).await.unwrap();
    assert_eq!(bench.provider.clusters().len(), 1);
    assert!(started.kubeconfig.exists());
    assert!(std::fs::read_to_string(&started.task_file).unwrap().starts_with("Keep `worker` of "));
    assert_eq!(std::fs::read_to_string(started.task_dir.join("note.txt")).unwrap(), "a note\n");
    assert_eq!(started.deadline, Some("2026-09-01T12:03:00Z".parse().unwrap()));
    bench.clock.advance(Duration::from_secs(60));
    let status = bench.lab.status().unwrap();
    assert_eq!(status.current.as_ref(), Some(&started.session));
    assert_eq!((status.sessions[0].elapsed_seconds, status.sessions[0].left_seconds), (60, Some(120)));
}

#[tokio::test]
async fn the_same_variant_gives_the_same_task() {
    let bench = bench(FakeProvider::new("fake"));
    let first = bench.lab.start(request()).await.unwrap();
    let second = bench.lab.start(request()).await.unwrap();
    assert_ne!(first.session, second.session);
    let text = |started: &view::Started| std::fs::read_to_string(&started.task_file).unwrap();
    assert_eq!(text(&first), text(&second));
}

#[tokio::test]
async fn a_failed_start_leaves_nothing() {
    let bench = bench(FakeProvider::new("fake").creates(Creates::Fails));
    let error = bench.lab.start(request()).await.unwrap_err();
    assert_eq!(error.to_string(), "the fake is broken");
    assert_eq!(bench.provider.clusters(), [""; 0]);
    assert_eq!(bench.left(), [""; 0].map(PathBuf::from));
    assert!(bench.lab.status().unwrap().sessions.is_empty());
}

#[tokio::test]
async fn an_interrupted_start_leaves_nothing() {
    let bench = bench(FakeProvider::new("fake").creates(Creates::Hangs));
    let start = bench.lab.start(request());
    let interrupt = async {
        while bench.provider.clusters().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.trigger.pull();
    };
    let (started, ()) = futures::join!(start, interrupt);
    assert!(matches!(started, Err(LabError::Interrupted)));
    assert_eq!(bench.provider.clusters(), [""; 0]);
    assert_eq!(bench.left(), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn what_is_retained_stays_until_it_is_stopped() {
    let bench = bench(FakeProvider::new("fake").creates(Creates::Fails));
    let error = bench.lab.start(StartRequest { retain: true, ..request() }).await.unwrap_err();
    let LabError::Kept { session, .. } = error else { panic!("{error}") };
    assert_eq!(bench.provider.clusters().len(), 1);
    assert_eq!(bench.lab.status().unwrap().sessions[0].state, TaskState::Failed);
    bench.lab.stop(Some(session.as_str()), false).await.unwrap();
    assert_eq!(bench.provider.clusters(), [""; 0]);
    assert_eq!(bench.left(), [""; 0].map(PathBuf::from));
}

#[tokio::test]
async fn an_unknown_scenario_creates_nothing() {
    let bench = bench(FakeProvider::new("fake"));
    let error =
        bench.lab.start(StartRequest { scenario: "exmaple".to_owned(), ..request() }).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no scenario `exmaple`");
    assert!(bench.left().is_empty());
}

#[tokio::test]
async fn a_silent_cluster_is_not_judged_and_not_submitted() {
    let bench = bench(FakeProvider::new("fake"));
    bench.lab.start(request()).await.unwrap();
    let (report, _) = bench.lab.check(None).await.unwrap();
    assert_eq!(report.checks[0].outcome, OutcomeName::CannotJudge);
    assert!(!report.passed);
    let error = bench.lab.submit(None, false).await.unwrap_err();
    assert!(matches!(error, LabError::Undecided { count: 1 }), "{error}");
    assert_eq!(bench.provider.clusters().len(), 1);
    assert_eq!(bench.lab.status().unwrap().sessions[0].state, TaskState::Running);
    let (submitted, _) = bench.lab.submit(None, true).await.unwrap();
    assert!(!submitted.result.passed);
}

#[tokio::test]
async fn a_submitted_task_is_graded_kept_and_remembered() {
    let (bench, _cluster) = answering().await;
    let started = bench.lab.start(request()).await.unwrap();
    bench.clock.advance(Duration::from_secs(90));
    let (report, _) = bench.lab.check(None).await.unwrap();
    assert!(report.passed, "{report:?}");
    assert_eq!((report.score, report.max, report.elapsed_seconds), (2, 2, 90));
    let (submitted, _) = bench.lab.submit(None, false).await.unwrap();
    assert!(submitted.report.exists());
    assert_eq!(bench.provider.clusters(), [""; 0]);
    assert_eq!(bench.lab.list().unwrap().scenarios[0].best.as_ref().map(|best| best.score), Some(2));

    let error = bench.lab.check(None).await.unwrap_err();
    assert_eq!(error.to_string(), format!("session `{}` is submitted", started.session));
    bench.lab.solution(None).unwrap();
    let left = bench.lab.leftovers().await.unwrap();
    bench.lab.clean(&left).await.unwrap();
    assert_eq!(bench.left(), [""; 0].map(PathBuf::from));
    let kept = bench.lab.report(None).unwrap();
    assert_eq!((kept.session, kept.passed), (started.session, true), "the report outlives its session");
}

#[tokio::test]
async fn what_is_submitted_late_says_so() {
    let (bench, _cluster) = answering().await;
    bench.lab.start(request()).await.unwrap();
    bench.clock.advance(Duration::from_secs(200));
    let (_, session) = bench.lab.submit(None, false).await.unwrap();
    assert_eq!(session.timer.overtime(), Some(Duration::from_secs(20)));
    let kept = bench.lab.report(None).unwrap();
    assert_eq!((kept.overtime_seconds, kept.passed), (Some(20), false));
    assert!(kept.tasks[0].result.passed);
}

#[tokio::test]
async fn a_reset_starts_over_on_the_same_clock() {
    let bench = bench(FakeProvider::new("fake"));
    let started = bench.lab.start(request()).await.unwrap();
    let text = std::fs::read_to_string(&started.task_file).unwrap();
    std::fs::write(started.task_dir.join("answer.txt"), "wrong").unwrap();
    bench.clock.advance(Duration::from_secs(60));
    let again = bench.lab.reset(None).await.unwrap();
    assert_eq!((&again.session, again.variant), (&started.session, started.variant));
    assert_eq!(std::fs::read_to_string(&again.task_file).unwrap(), text);
    assert!(!again.task_dir.join("answer.txt").exists());
    assert_eq!(bench.provider.clusters().len(), 1);
    assert_eq!(bench.lab.status().unwrap().sessions[0].elapsed_seconds, 60);
}

#[tokio::test]
async fn a_changed_scenario_is_told() {
    let bench = bench(FakeProvider::new("fake"));
    bench.lab.start(request()).await.unwrap();
    bench.lab.check(None).await.unwrap();
    assert!(bench.warnings().is_empty());
    let file = bench.dir.path().join("scenarios/example/scenario.yaml");
    std::fs::write(&file, SCENARIO.replace("!= 'worker'", "!= 'warden'")).unwrap();
    bench.lab.check(None).await.unwrap();
    assert!(bench.warnings()[0].contains("has changed"), "{:?}", bench.warnings());
}

#[tokio::test]
async fn stray_clusters_are_found_and_those_of_sessions_are_not() {
    let bench = bench(FakeProvider::new("fake"));
    bench.lab.start(request()).await.unwrap();
    assert!(bench.lab.leftovers().await.unwrap().is_empty());
    let id = bench.lab.status().unwrap().sessions[0].session.clone();
    std::fs::remove_dir_all(bench.lab.sessions().dir(&id)).unwrap();
    let left = bench.lab.leftovers().await.unwrap();
    assert_eq!(left.clusters.len(), 1);
    let removed = bench.lab.clean(&left).await.unwrap();
    assert_eq!(removed.clusters.len(), 1);
    assert_eq!(bench.provider.clusters(), [""; 0]);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_keeps_clusters_from_being_taken_for_strays() {
    let bench = bench(FakeProvider::new("fake"));
    let started = bench.lab.start(request()).await.unwrap();
    let file = bench.lab.sessions().dir(&started.session).join("session.json");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"version\": 1", "\"version\": 9");
    std::fs::write(&file, text).unwrap();
    assert!(bench.lab.leftovers().await.unwrap().is_empty());
    assert!(bench.warnings()[0].contains("newer version"), "{:?}", bench.warnings());
    assert_eq!(bench.lab.stop_all(false).await.unwrap().sessions.len(), 0);
    assert_eq!(bench.provider.clusters().len(), 1);
}

#[tokio::test]
async fn hints_are_counted_in_the_report() {
    let (bench, _cluster) = answering().await;
    bench.lab.start(request()).await.unwrap();
    let first = bench.lab.hint(None).unwrap();
    assert_eq!((first.number, first.total, first.text.as_deref()), (1, 2, Some("Look.")));
    bench.lab.submit(None, false).await.unwrap();
    assert_eq!(bench.lab.report(None).unwrap().tasks[0].hints, 1);
}
