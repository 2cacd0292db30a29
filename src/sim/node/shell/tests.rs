use super::*;

#[derive(Debug, Default)]
struct Bare {
    files: BTreeMap<String, String>,
    read_only: bool,
}

impl Host for Bare {
    fn read(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        matches!(path, "/" | "/tmp" | "/etc").then(Vec::new)
    }

    fn refuses(&self, _path: &str) -> Option<&'static str> {
        self.read_only.then_some("Read-only file system")
    }

    fn is_service(&self, program: &str) -> bool {
        program == "java"
    }
}

fn start() -> Start {
    Start {
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        hostname: "pod".into(),
        groups: vec![0],
        ..Start::default()
    }
}

fn trace(script: &str, seconds: u64) -> Trace {
    let argv = ["sh", "-c", script].map(str::to_owned);
    run(&argv, &start(), &Bare::default(), None, Duration::from_secs(seconds))
}

fn said(script: &str) -> String {
    trace(script, 3600).output.iter().map(|w| w.text.as_str()).collect()
}

fn code(script: &str) -> Option<i32> {
    trace(script, 3600).ending.map(|e| e.code)
}

#[test]
fn the_scripts_of_the_recordings() {
    assert_eq!((said("echo started; exit 1").as_str(), code("echo started; exit 1")), ("started\n", Some(1)));
    assert_eq!(code("exit 0"), Some(0));
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(said("date"), "Fri Jan  2 03:04:05 UTC 2026\n");
    assert_eq!(code("cat /nosuch"), Some(1));
    assert_eq!(said("cat /nosuch"), "cat: can't open '/nosuch': No such file or directory\n");
    let two = trace("echo one; sleep 2", 3600);
    assert_eq!(two.ending.unwrap().at.as_secs(), 2);
    assert!(trace("echo one; sleep 2", 1).ending.is_none());
    let message = trace("echo gone wrong > /dev/termination-log; exit 2", 9);
    assert_eq!(message.files["/dev/termination-log"], Some("gone wrong\n".to_owned()));
    let errors = trace("echo bad >&2; exit 3", 9);
    assert_eq!((errors.output[0].error, errors.ending.unwrap().code), (true, 3));
    let oom = Start { memory: Some(16 << 20), ..start() };
    let argv = ["sh", "-c", "x=a; while true; do x=$x$x$x; done"].map(str::to_owned);
    let oom = run(&argv, &oom, &Bare::default(), None, Duration::from_secs(60));
    assert!(oom.ending.unwrap().out_of_memory);
    let trap = trace("trap 'exit 0' TERM; sleep 3600 & wait", 60);
    assert_eq!((trap.ending, trap.on_term), (None, Some(OnTerm::Exit(0))));
}

#[test]
fn loops_run_in_virtual_time() {
    let clock = trace("while true; do date +%s; sleep 10; done", 35);
    assert_eq!(clock.output.len(), 4);
    assert_eq!(clock.output[3].at.as_secs(), 30);
    assert!(clock.ending.is_none());
    let counted = trace("i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i; sleep 1; done; echo end", 60);
    assert_eq!(counted.output.len(), 4);
    assert_eq!(counted.ending.unwrap().at.as_secs(), 3);
    assert!(trace("while :; do :; done", 60).ending.is_none());
}

#[test]
fn a_file_is_there_while_the_script_keeps_it() {
    let script = "touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600";
    assert_eq!(trace(script, 10).files["/tmp/healthy"], Some(String::new()));
    assert_eq!(trace(script, 31).files["/tmp/healthy"], None);
    let probe = ["cat", "/tmp/healthy"].map(str::to_owned);
    let probe = |at| {
        let files = trace(script, at);
        run(&probe, &start(), &Bare::default(), Some(&files), Duration::from_secs(1)).ending.unwrap().code
    };
    assert_eq!((probe(10), probe(31)), (0, 1));
}

#[test]
fn the_language() {
    assert_eq!(said("for i in a b; do echo -n $i; done"), "ab");
    assert_eq!(said("A='x y'; echo \"$A\" $A \"${B:-none}\""), "x y x y none\n");
    assert_eq!(said("echo $(echo inner | tr a-z A-Z)"), "INNER\n");
    assert_eq!(said("if [ -f /etc/x ]; then echo yes; else echo no; fi"), "no\n");
    assert_eq!(said("false || echo or; true && echo and; ! true || echo not"), "or\nand\nnot\n");
    assert_eq!(said("case abc in a*) echo begins;; *) echo other;; esac"), "begins\n");
    assert_eq!(said("f() { echo \"got $1 of $#\"; return 3; }; f one two; echo $?"), "got one of 2\n3\n");
    assert_eq!(said("echo $((2 + 3 * 4)) $(( (2+3)*4 ))"), "14 20\n");
    assert_eq!(said("x=file.tar.gz; echo ${x%%.*} ${x#*.} ${#x}"), "file tar.gz 11\n");
    assert_eq!(said("printf 'a=%d %s\\n' 1 b 2 c"), "a=1 b\na=2 c\n");
    assert_eq!(said("echo a > /tmp/f; echo b >> /tmp/f; cat /tmp/f | wc -l"), "2\n");
    assert_eq!(said("seq 3 | while read n; do echo n$n; done"), "n1\nn2\nn3\n");
    assert_eq!(said("nosuchcmd; echo $?"), "sh: nosuchcmd: not found\n127\n");
    assert_eq!(said("set -e; false; echo never"), "");
    assert_eq!(said("(exit 3); echo $?; { echo group; }"), "3\ngroup\n");
    assert_eq!(said("echo err >&2 2>/dev/null; ls /nosuch 2>/dev/null || echo gone"), "err\ngone\n");
    assert_eq!(code("exec java -jar app.jar"), None);
    assert_eq!(code("sleep infinity"), None);
    assert_eq!(code("echo 'open"), Some(2));
    assert_eq!(code("timeout 2 sleep 10"), Some(143));
}

#[test]
fn a_read_only_root_is_not_written_to() {
    let host = Bare { read_only: true, ..Bare::default() };
    let argv = ["sh", "-c", "touch /x; echo hi > /y; mkdir /z"].map(str::to_owned);
    let trace = run(&argv, &start(), &host, None, Duration::from_secs(5));
    let text: String = trace.output.iter().map(|w| w.text.as_str()).collect();
    assert_eq!(
        text,
        "touch: /x: Read-only file system\nsh: can't create /y: Read-only file system\nmkdir: can't create directory \
         '/z': Read-only file system\n"
    );
}

#[test]
fn the_words_of_gnu_are_others() {
    let start = Start { gnu: true, ..start() };
    let host = Bare { read_only: true, ..Bare::default() };
    let argv = ["sh", "-c", "touch /x; echo hi > /y; cat /nosuch; nosuch"].map(str::to_owned);
    let trace = run(&argv, &start, &host, None, Duration::from_secs(5));
    let text: String = trace.output.iter().map(|w| w.text.as_str()).collect();
    assert_eq!(
        text,
        "touch: cannot touch '/x': Read-only file system\nsh: 1: cannot create /y: Read-only file system\ncat: /nosuch: No such \
         file or directory\nsh: 1: nosuch: not found\n"
    );
}

#[test]
fn text_is_cut_counted_and_changed() {
    assert_eq!(said("printf 'a:b:c\\nd:e:f\\n' | cut -d: -f2"), "b\ne\n");
    assert_eq!(said("printf 'a:b:c\\n' | cut -d: -f 2-"), "b:c\n");
    assert_eq!(said("printf 'a b\\nc d\\n' | awk '{print $2}'"), "b\nd\n");
    assert_eq!(said("printf 'a b\\nc d\\n' | awk 'NR==2{print $1, $2}'"), "c d\n");
    assert_eq!(said("printf 'one\\ntwo\\n' | sed 's/o/0/'"), "0ne\ntw0\n");
    assert_eq!(said("printf 'one\\ntwo\\n' | sed -n 2p"), "two\n");
    assert_eq!(said("printf 'one\\ntwo\\n' | grep -n two"), "2:two\n");
    assert_eq!(said("printf 'one\\ntwo\\n' | grep -c 'o'"), "2\n");
    assert_eq!(said("printf 'abcdef' | head -c 3"), "abc");
    assert_eq!(said("printf '1\\n2\\n3\\n' | tail -n +2"), "2\n3\n");
    assert_eq!(said("echo -n hi | base64"), "aGk=\n");
    assert_eq!(said("echo aGk= | base64 -d"), "hi");
}

#[test]
fn what_tar_packs_it_unpacks() {
    let script = "mkdir -p /tmp/a/b /tmp/to; echo one > /tmp/a/x; echo two > /tmp/a/b/y; tar cf - -C /tmp a | tar xmf - -C /tmp/to; \
                  find /tmp/to -type f | sort; cat /tmp/to/a/b/y";
    assert_eq!(said(script), "/tmp/to/a/b/y\n/tmp/to/a/x\ntwo\n");
    assert_eq!(code("tar cf - /nosuch"), Some(1));
    let out = "mkdir /tmp/in; printf x > /tmp/p; tar cf - -C /tmp p | tar xf - -C /tmp/in && ls /tmp/in";
    assert_eq!(said(out), "p\n");
}

#[test]
fn a_shell_remembers_from_line_to_line() {
    let (start, host, far) = (start(), Bare::default(), Duration::from_secs(60));
    let mut memory = Memory::new(&start, BTreeMap::new());
    let mut line = |text: &str| {
        let (trace, next, left) = run_line(text, &start, &host, &memory, far);
        memory = next;
        (trace.output.iter().map(|w| w.text.as_str()).collect::<String>(), left)
    };
    line("x=1; cd /tmp; echo kept > f");
    assert_eq!(line("echo $x; pwd; cat f"), ("1\n/tmp\nkept\n".to_owned(), false));
    assert_eq!(line("false"), (String::new(), false));
    assert_eq!(line("echo $?"), ("1\n".to_owned(), false));
    assert!(!line("echo 'open").1, "what makes no sense ends no shell");
    assert!(line("exit 3").1);
}

#[test]
fn a_program_that_reads_waits_until_something_was_typed() {
    let waiting = Start { waits: true, ..start() };
    let argv = ["sh", "-c", "echo ready; cat"].map(str::to_owned);
    let trace = run(&argv, &waiting, &Bare::default(), None, Duration::from_secs(60));
    assert_eq!((trace.waits, trace.ending, trace.output.len()), (true, None, 1));
    let given = Start { stdin: Some("in\n".into()), stdin_at: Duration::from_secs(5), ..start() };
    let trace = run(&argv, &given, &Bare::default(), None, Duration::from_secs(60));
    assert_eq!(trace.output[1].text, "in\n");
    assert_eq!(trace.output[1].at.as_secs(), 5);
}
