//! Looks at the console as it stands on the screen, and types on it. `CKS_LAB_BLESS=1` writes the screens anew.

use std::fmt::Write as _;
use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier, Style};

use super::console::{Action, Console, Done, Ended};
use super::draw;
use crate::exam::score::DomainScore;
use crate::lab::error::LabError;
use crate::lab::event::Event;
use crate::lab::exam::view::{
    ExamPlace, ExamResult, ExamRules, ExamStatus, ExamTaskResult, ExamTaskStatus, ExamTaskView,
};
use crate::report::{LinkKind, StudyLink};
use crate::session::{SessionId, TaskState};

const TEXT: &str = indoc::indoc! {"
    # Shrink the releaser

    The ServiceAccount `releaser` of namespace `shop-ci` can do anything in the cluster. Its pipeline only reads and
    updates Deployments of namespace `shop`.

    1. Take everything away from `releaser` that it does not need. Leave the ServiceAccount itself.
    2. Let it `get`, `list` and `patch` Deployments in `shop`, through a Role `release` and a RoleBinding `release`.
    3. Write the name of the ClusterRoleBinding that gave it too much into
       `/home/candidate/answers/a-very-long-path-that-no-terminal-of-eighty-columns-shows-in-one-line/answer.txt`.

    This must go on working:

    ```sh
    kubectl --as system:serviceaccount:shop-ci:releaser -n shop get deployments
    kubectl -n shop rollout status deployment/web
    ```

    Do not change the namespaces `kube-system` and `shop-db`, and do not delete the ServiceAccount `auditor`.
"};

fn id() -> SessionId {
    SessionId::parse("exam-k3f9").unwrap()
}

fn task(number: usize) -> ExamTaskStatus {
    ExamTaskStatus {
        place: ExamPlace {
            number,
            scenario: format!("scenario-{number}"),
            host: format!("cks{}", 1000 + number * 271),
            weight: if number.is_multiple_of(3) { 10 } else { 4 },
            minutes: 7,
        },
        title: match number {
            3 => "Shrink the releaser".to_owned(),
            number => format!("A title that is somewhat longer than others, {number}"),
        },
        visited: number <= 5,
        flagged: number == 2 || number == 4,
        note: if number == 3 { "look at the binding again".to_owned() } else { String::new() },
        spent_seconds: 60 * number as u64,
    }
}

fn status(state: TaskState, left_seconds: u64) -> ExamStatus {
    ExamStatus {
        session: id(),
        track: "v1.34".to_owned(),
        state,
        ready: true,
        minutes: 120,
        left_seconds,
        deadline: None,
        current: 3,
        tasks: (1..=17).map(task).collect(),
    }
}

fn text(number: usize) -> Result<ExamTaskView, LabError> {
    let link = |title: &str, url: &str| StudyLink {
        title: title.to_owned(),
        url: url.to_owned(),
        kind: LinkKind::Allowed,
    };
    Ok(ExamTaskView {
        session: id(),
        status: task(number),
        of: 17,
        text: TEXT.to_owned(),
        reference: vec![link("Using RBAC", "https://kubernetes.io/docs/reference/access-authn-authz/rbac/")],
        task_dir: "/home/candidate".into(),
        left_seconds: 0,
    })
}

fn running(colour: bool, left_seconds: u64) -> Console {
    let mut console = Console::new(colour);
    assert!(!console.update(status(TaskState::Running, left_seconds), text), "the first look rings no bell");
    console
}

fn ended(colour: bool) -> Console {
    let mut console = running(colour, 600);
    console.update(status(TaskState::Submitted, 600), text);
    let task = |number: usize| ExamTaskResult {
        number,
        scenario: format!("scenario-{number}"),
        title: task(number).title,
        domain: "cluster-hardening".to_owned(),
        weight: task(number).place.weight,
        score: [0.0, 100.0, 62.5][number % 3],
        awarded: [0, 8, 5][number % 3],
        max: 8,
        cannot_judge: usize::from(number == 9),
        skipped: 0,
        spent_seconds: 300,
    };
    let domain = |id: &str, title: &str, score: f64| DomainScore {
        id: id.to_owned(),
        title: title.to_owned(),
        weight: 15,
        tasks: 3,
        share: 15,
        score,
    };
    let result = ExamResult {
        session: id(),
        track: "v1.34".to_owned(),
        score: 58.75,
        pass_mark: 67,
        passed: false,
        undecided: 4.0,
        domains: vec![
            domain("cluster-setup", "Cluster Setup", 40.0),
            domain("cluster-hardening", "Cluster Hardening", 100.0),
        ],
        tasks: (1..=17).map(task).collect(),
        report: "/state/reports/exam-k3f9.json".into(),
    };
    console.done(Ok(Done::Ended(Box::new(Ended { result, tasks: Vec::new() }))));
    console
}

fn draw(console: &mut Console, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(console, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    let row = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..area.height).map(row).collect()
}

/// The styles of a screen, a line for each run of cells that has one.
fn styles(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut out = String::new();
    for y in 0..area.height {
        let style = |x: u16| {
            let style = buffer[(x, y)].style();
            (style.fg.unwrap_or(Color::Reset), style.bg.unwrap_or(Color::Reset), style.add_modifier)
        };
        let mut from = 0;
        for x in 1..=area.width {
            if x == area.width || style(x) != style(from) {
                let (fg, bg, modifier) = style(from);
                if (fg, bg, modifier) != (Color::Reset, Color::Reset, Modifier::empty()) {
                    let ground = if bg == Color::Reset { String::new() } else { format!(" on {bg:?}") };
                    let _ = writeln!(out, "{y:>2} {from:>3}-{:<3} {fg:?}{ground} {modifier:?}", x - 1);
                }
                from = x;
            }
        }
    }
    out
}

/// Compares a screen with the one that is kept.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told through the environment to write what it would compare"
)]
fn looks_like(name: &str, console: &mut Console, (width, height): (u16, u16)) {
    let buffer = draw(console, width, height);
    let mut screen = rows(&buffer).join("\n") + "\n";
    if console.colour {
        screen.push_str(&format!("\n{}", styles(&buffer)));
    } else {
        let reset = |style: Style| {
            style.fg.is_none_or(|fg| fg == Color::Reset) && style.bg.is_none_or(|bg| bg == Color::Reset)
        };
        assert!(buffer.content.iter().all(|cell| reset(cell.style())), "{name}: there is colour");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/console/{name}.txt"));
    if std::env::var_os("CKS_LAB_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &screen).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(screen == kept, "{name} looks otherwise:\n{screen}\nthan:\n{kept}");
}

fn press(console: &mut Console, code: KeyCode) -> Option<Action> {
    console.input(&Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn letter(console: &mut Console, letter: char) -> Option<Action> {
    press(console, KeyCode::Char(letter))
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 20)];

#[test]
fn a_running_exam_at_three_sizes_with_and_without_colour() {
    for (width, height) in SIZES {
        for (colour, word) in [(true, "colour"), (false, "plain")] {
            let mut console = running(colour, 4930);
            looks_like(&format!("running-{width}x{height}-{word}"), &mut console, (width, height));
        }
    }
}

#[test]
fn little_time_is_told_in_words_and_in_colour() {
    for (width, height) in SIZES {
        let mut console = running(false, 31 * 60);
        assert!(
            console.update(status(TaskState::Running, 30 * 60), text),
            "the bell rings when it is crossed"
        );
        assert!(!console.update(status(TaskState::Running, 30 * 60 - 1), text), "and once");
        looks_like(&format!("alert-30-{width}x{height}"), &mut console, (width, height));
    }
    let mut console = running(true, 299);
    looks_like("alert-5-colour", &mut console, (80, 24));
    let up = rows(&draw(&mut running(false, 0), 60, 20));
    assert!(up[0].ends_with("the time is up"), "{up:#?}");
}

#[test]
fn what_is_asked_stands_in_a_box_or_in_the_last_line_but_one() {
    let mut console = running(false, 4930);
    let ask = |console: &mut Console, key, name: &str| {
        assert_eq!(letter(console, key), None);
        for (width, height) in [SIZES[0], SIZES[2]] {
            looks_like(&format!("{name}-{width}x{height}"), console, (width, height));
        }
        assert_eq!(press(console, KeyCode::Esc), None);
        assert!(console.prompt.is_none());
    };
    ask(&mut console, '?', "help");
    ask(&mut console, 'c', "copy");
    ask(&mut console, 'S', "submit");
    ask(&mut console, 'e', "note");
    ask(&mut console, '1', "goto");
}

#[test]
fn before_the_clock_runs_the_rules_are_shown_and_enter_starts_it() {
    let mut console = Console::new(false);
    let allowed = ["https://kubernetes.io/docs/", "https://kubernetes.io/blog/", "https://falco.org/docs/"];
    console.rules = Some(ExamRules {
        session: id(),
        track: "v1.34".to_owned(),
        title: "CKS curriculum v1.34 (2025)".to_owned(),
        tasks: 17,
        minutes: 120,
        pass_mark: 67,
        allowed: allowed.map(str::to_owned).to_vec(),
        open_book: false,
    });
    console.update(ExamStatus { ready: false, ..status(TaskState::Preparing, 7200) }, text);
    assert_eq!(press(&mut console, KeyCode::Enter), None, "nothing is ready");
    console.update(status(TaskState::Preparing, 7200), text);
    for (width, height) in SIZES {
        looks_like(&format!("rules-{width}x{height}"), &mut console, (width, height));
    }
    assert_eq!(press(&mut console, KeyCode::Enter), Some(Action::Begin));
}

#[test]
fn after_the_end_the_result_is_shown_and_each_task_can_be_looked_at() {
    for (colour, word) in [(true, "colour"), (false, "plain")] {
        looks_like(&format!("result-{word}"), &mut ended(colour), (120, 40));
    }
    let mut console = ended(false);
    looks_like("result-80x24", &mut console, (80, 24));
    console.ended.as_mut().unwrap().tasks = Vec::new();
    assert_eq!(letter(&mut console, 'n'), None, "looking is nobody else's matter");
    assert_eq!(letter(&mut console, 'f'), None, "nothing is flagged any more");
    assert_eq!(letter(&mut console, 'S'), None);
    assert!(console.prompt.is_none());
}

#[test]
fn with_the_list_off_the_text_stands_alone_from_the_first_column() {
    let mut console = running(false, 4930);
    draw(&mut console, 80, 24);
    letter(&mut console, 't');
    looks_like("text-alone-80x24", &mut console, (80, 24));
    let mut narrow = running(false, 4930);
    draw(&mut narrow, 60, 20);
    letter(&mut narrow, 't');
    looks_like("list-60x20", &mut narrow, (60, 20));
}

#[test]
fn what_is_too_long_for_the_window_is_scrolled_and_nothing_of_it_is_lost() {
    let mut console = running(false, 4930);
    let mut seen = String::new();
    for _ in 0..20 {
        let screen = draw(&mut console, 60, 12);
        seen.push_str(&rows(&screen)[1..10].join("\n"));
        press(&mut console, KeyCode::PageDown);
    }
    assert!(rows(&draw(&mut console, 60, 12))[10].ends_with("more above"));
    let parts = [
        "Shrink the releaser",
        "cks-lab ssh cks1813",
        "rollout status",
        "`auditor`",
        "answer.txt",
        "access-authn",
    ];
    for part in parts {
        assert!(seen.contains(part), "{part}\n{seen}");
    }
    press(&mut console, KeyCode::Home);
    assert_eq!(console.scroll, 0);
}

#[test]
fn a_window_that_is_too_small_says_so_and_any_size_can_be_drawn() {
    let mut all = [running(true, 4930), ended(true), Console::new(true)];
    letter(&mut all[0], 'c');
    for console in &mut all {
        for width in [1, 5, 29, 30, 31, 73, 74, 109, 110, 300] {
            for height in [1, 2, 7, 8, 9, 60] {
                let screen = rows(&draw(console, width, height)).join("");
                if width >= 23 && (width < 30 || height < 8) {
                    assert!(screen.contains("too small"), "{width}x{height}: {screen}");
                }
            }
        }
    }
}

#[test]
fn keys_ask_for_what_the_commands_do() {
    let mut console = running(false, 4930);
    assert_eq!(letter(&mut console, 'n'), Some(Action::Next));
    assert_eq!(letter(&mut console, 'p'), Some(Action::Turn(2)));
    assert_eq!(press(&mut console, KeyCode::Right), Some(Action::Turn(4)));
    assert_eq!(letter(&mut console, 'f'), Some(Action::Flag(3)));
    assert_eq!(letter(&mut console, 's'), Some(Action::Ssh("cks1813".to_owned())));
    assert_eq!(letter(&mut console, 'q'), Some(Action::Leave));
    letter(&mut console, '1');
    letter(&mut console, '7');
    assert_eq!(press(&mut console, KeyCode::Enter), Some(Action::Turn(17)));
    letter(&mut console, '1');
    letter(&mut console, '8');
    assert_eq!(press(&mut console, KeyCode::Enter), None);
    assert!(console.message.as_ref().unwrap().1.contains("1 to 17"));

    letter(&mut console, 'S');
    assert_eq!(letter(&mut console, 'n'), None, "anything but yes is no");
    letter(&mut console, 'S');
    assert_eq!(letter(&mut console, 'y'), Some(Action::Submit { force: false }));
    console.done(Err(LabError::Undecided { count: 3 }));
    assert_eq!(letter(&mut console, 'y'), Some(Action::Submit { force: true }));
    let leave = console.input(&Input::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert_eq!(leave, Some(Action::Leave));

    let mut first = running(false, 4930);
    first.update(ExamStatus { current: 1, ..status(TaskState::Running, 4930) }, text);
    assert_eq!(letter(&mut first, 'p'), Some(Action::Turn(17)), "before the first comes the last");
}

#[test]
fn a_note_is_edited_with_the_keys_of_a_line() {
    let mut console = running(false, 4930);
    letter(&mut console, 'e');
    console.input(&Input::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
    for key in "quS?".chars() {
        assert_eq!(letter(&mut console, key), None, "a key within a note is a letter");
    }
    press(&mut console, KeyCode::Backspace);
    console.input(&Input::Paste("ota\n".to_owned()));
    assert_eq!(press(&mut console, KeyCode::Enter), Some(Action::Note(3, "quSota".to_owned())));
    letter(&mut console, 'e');
    assert_eq!(
        press(&mut console, KeyCode::Enter),
        Some(Action::Note(3, "look at the binding again".to_owned())),
        "what was noted is there to be changed"
    );
}

#[test]
fn any_name_of_the_task_can_be_copied() {
    let mut console = running(false, 4930);
    letter(&mut console, 'c');
    assert_eq!(letter(&mut console, '1'), Some(Action::Copy("cks-lab ssh cks1813".to_owned())));
    letter(&mut console, 'c');
    assert_eq!(letter(&mut console, '3'), Some(Action::Copy("shop-ci".to_owned())));
    letter(&mut console, 'c');
    press(&mut console, KeyCode::Down);
    assert_eq!(press(&mut console, KeyCode::Enter), Some(Action::Copy("releaser".to_owned())));
    assert!(console.message.as_ref().unwrap().1.contains("releaser"));
}

#[test]
fn what_another_terminal_does_shows_up() {
    let mut console = running(false, 4930);
    console.scroll = 5;
    letter(&mut console, 'e');
    let mut elsewhere = status(TaskState::Running, 4929);
    elsewhere.current = 9;
    elsewhere.tasks[8].flagged = true;
    console.update(elsewhere, text);
    let screen = rows(&draw(&mut console, 80, 24));
    assert!(screen[0].contains("Task 9 of 17") && screen[0].contains("flagged"), "{screen:#?}");
    assert_eq!(
        (console.scroll, console.prompt.is_some()),
        (0, false),
        "a note is not written to another task"
    );
    console.hear(Event::Alert { minutes: 15, left_seconds: 899 });
    assert!(rows(&draw(&mut console, 80, 24))[22].contains("less than 15 minutes are left: 14:59"));
}
